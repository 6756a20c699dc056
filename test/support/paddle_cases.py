"""Saves PaddlePaddle's networks in each of Paddle's ways, runs them on images, and writes files, images and logits.

paddle_cases.py FOLDER CASES: CASES is JSON, a list of cases with
  name      what the files are called: NAME.FORM.pdparams and NAME.io.safetensors
  network   tutorial, vision or clas, and its `options`
  dtype     of what is saved, where it is not float32; the network runs in float32
  images  [height, width] of each: NAME.io.safetensors has `image 0`, `logits 0` and so on
  forms     how it is saved: see FORMS; those of STATIC_FORMS run the network as a static graph
"""

import json
import os
import pickle
import sys
from unittest import mock

os.environ.update(CUDA_VISIBLE_DEVICES="", GLOG_minloglevel="2")

import numpy as np
import paddle
import paddle_networks
from paddle.framework import io_utils
from paddle.vision import models
from safetensors.numpy import save_file


def main(folder, cases):
    for number, case in enumerate(json.loads(cases)):
        random = np.random.default_rng(number)
        path = os.path.join(folder, case["name"])
        images = [random.standard_normal((1, *size, 3), dtype=np.float32) for size in case["images"]]
        inputs = [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in images]
        run = in_static_graph if case["forms"][0] in STATIC_FORMS else in_dygraph
        tensors = {}
        for i, logits in enumerate(run(path, case, inputs, random)):
            tensors |= {f"image {i}": images[i][0], f"logits {i}": np.ascontiguousarray(logits[0])}
        save_file(tensors, path + ".io.safetensors")


def in_dygraph(path, case, inputs, random):
    model = build(case)
    model.eval()
    dtype = case.get("dtype", "float32")
    for tensor in model.state_dict().values():
        numbers = paddle.to_tensor(lively(tensor.name, tensor.shape, random))
        tensor.set_value(numbers.astype(dtype).astype("float32"))
    with paddle.no_grad():
        logits = [model(paddle.to_tensor(image)).numpy() for image in inputs]
    state = model.state_dict()
    if dtype != "float32":
        state = {name: tensor.astype(dtype) for name, tensor in state.items()}
    for form in case["forms"]:
        FORMS[form](state, f"{path}.{form}.pdparams")
    return logits


def in_static_graph(path, case, inputs, random):
    paddle.enable_static()
    program, startup = paddle.static.Program(), paddle.static.Program()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.scope_guard(paddle.static.Scope()), paddle.static.program_guard(program, startup):
        image = paddle.static.data("image", [None, 3, None, None])
        model = build(case)
        model.eval()
        logits = model(image)
        executor.run(startup)
        state = {name: lively(name, tensor.shape(), random) for name, tensor in program.state_dict().items()}
        paddle.static.set_program_state(program, state)
        results = [executor.run(program, feed={"image": x}, fetch_list=[logits])[0] for x in inputs]
        for form in case["forms"]:
            STATIC_FORMS[form](program, f"{path}.{form}.pdparams")
    paddle.disable_static()
    return results


def build(case):
    options = case["options"]
    if case["network"] == "tutorial":
        return paddle_networks.ResNet(**options)
    if case["network"] == "clas":
        return paddle_networks.ClasResNet(**options)
    return getattr(models, options["name"])(num_classes=options["classes"])


def lively(name, shape, random):
    """Numbers that tell every layer from one that is left out: of a batch norm all four, and convolutions that do not drown them."""
    numbers = random.random(shape, dtype="float32") - 0.5
    if len(shape) > 1:
        inputs = shape[0] if len(shape) == 2 else shape[1] * shape[2] * shape[3]
        return numbers * (2 / inputs**0.5)
    # Scales and variances lie around 1, offsets, means and biases around 0.
    is_norms = "batch_norm" in name
    around_one = name.endswith(("_scale", "_variance")) or (is_norms and name.endswith(("w_0", "w_2")))
    return numbers + 1 if around_one else numbers


def with_protocol(protocol):
    return lambda state, path: paddle.save(state, path, protocol=protocol)


def by_pickle(state, path):
    """Protocol 5, which paddle.save does not take: what it would have pickled."""
    saved = {name: tensor.numpy() for name, tensor in state.items()}
    saved["StructuredToParameterName@@"] = {name: tensor.name for name, tensor in state.items()}
    with open(path, "wb") as file:
        pickle.dump(saved, file, protocol=5)


def in_slices(state, path):
    """As protocols 2 and 3 save arrays of a GiB and more, with a limit of 256 KiB: `int((2**30 - 1) / itemsize)` is the real one."""
    small = lambda value: int(value) >> 12 if value > 2**24 else int(value)
    with mock.patch.object(io_utils, "int", small, create=True):
        paddle.save(state, path, protocol=2)
    with open(path, "rb") as file:
        assert "UnpackBigParamInfor@@" in pickle.load(file), "Paddle cuts arrays otherwise than it did"


def wrapped(state, path):
    """With what trainings keep beside it, a tensor without dimensions for one."""
    paddle.save({"epoch": 3, "model": state, "loss": paddle.to_tensor(0.5), "best": 76.5}, path)


FORMS = {
    "protocol2": with_protocol(2),
    "protocol3": with_protocol(3),
    "protocol4": with_protocol(4),
    "protocol5": by_pickle,
    "slices": in_slices,
    "wrapped": wrapped,
    "safetensors": lambda state, path: paddle.save(state, path, safetensors=True),
}

STATIC_FORMS = {
    "static": lambda program, path: paddle.static.save(program, path.removesuffix(".pdparams")),
    "program": lambda program, path: paddle.save(program.state_dict(), path),
    # Tensors of static graphs in something other than a state dict are saved as calls of `eval`.
    "wrapped-program": lambda program, path: paddle.save({"epoch": 3, "model": program.state_dict()}, path),
}

if __name__ == "__main__":
    main(*sys.argv[1:])
