"""Checks ONNX files with onnx itself and runs them with onnxruntime and OpenVINO.

onnx_engines.py FOLDER: of each NAME.onnx in FOLDER the output `logits` for the input NAME.f32 goes to NAME.ENGINE.f32. Prints the names of
the engines.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
import openvino

folder = sys.argv[1]


def with_onnxruntime(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"x": x})[0]


def with_openvino(path, x):
    core = openvino.Core()
    precision = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO would take bf16 where the processor has it
    model = core.compile_model(core.read_model(path), "CPU", precision)
    return model({"x": x})[model.output("logits")]


engines = {"onnxruntime": with_onnxruntime, "openvino": with_openvino}
for file in sorted(os.listdir(folder)):
    name, extension = os.path.splitext(file)
    if extension != ".onnx":
        continue
    path = os.path.join(folder, file)
    onnx.checker.check_model(path, full_check=True)
    shape = [side.dim_value or 2 for side in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    x = np.fromfile(os.path.join(folder, name + ".f32"), np.float32).reshape(shape)
    for engine, run in engines.items():
        run(path, x).astype(np.float32).tofile(os.path.join(folder, f"{name}.{engine}.f32"))
print(" ".join(engines))
