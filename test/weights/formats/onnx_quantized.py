"""Makes quantized ONNX files with onnxruntime's, PyTorch's and torchao's quantizers, and runs them with onnxruntime.

onnx_quantized.py FOLDER: FOLDER has plain.onnx, a model for images of 64x64, images.u8, `[N,64,64,3]`, and images.f32, the same
normalised, `[N,3,64,64]`. It gets NAME.onnx for each manner, and NAME.f32, its logits. Prints the names.
"""

import os
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="2")

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

folder = sys.argv[1]
images = np.fromfile(os.path.join(folder, "images.f32"), np.float32).reshape(-1, 3, 64, 64)
U8, S8 = QuantType.QUInt8, QuantType.QInt8


class Images(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"x": images[i : i + 32]} for i in range(0, len(images), 32)])

    def get_next(self):
        return next(self.batches, None)


def path(name, extension="onnx"):
    return os.path.join(folder, f"{name}.{extension}")


def finish(name):
    """Runs a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path(name), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    output, given = "logits" if "logits" in names else names[0], session.get_inputs()[0].name
    logits = [session.run([output], {given: images[i : i + 8]})[0] for i in range(0, len(images), 8)]
    np.concatenate(logits).astype(np.float32).tofile(path(name, "f32"))
    print(name, flush=True)


def with_onnxruntime(name, source, activations, weights, symmetric=False, per_channel=True, **options):
    quantize_static(
        path(source),
        path(name),
        Images(),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
        extra_options={"ActivationSymmetric": symmetric, **options.pop("extra", {})},
        **options,
    )
    finish(name)


def with_torch():
    """The eager quantizer of torchvision's model, fused, and one with quantization simulated as in training; both as torch.onnx has them."""
    import torch
    from torch.ao import quantization
    from torchvision import models

    x = torch.from_numpy(images)

    def trained():
        torch.manual_seed(1)
        model = models.quantization.resnet18(num_classes=7, quantize=False)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.5, 0.5)
        model.train()
        with torch.no_grad():
            model(x)
        return model.eval()

    def export(name, model):
        options = {"opset_version": 17, "input_names": ["x"], "dynamic_axes": {"x": [0]}}
        torch.onnx.export(model, (x[:2],), path(name), dynamo=False, **options)
        finish(name)

    for engine in "x86", "qnnpack":
        torch.backends.quantized.engine = engine
        model = trained()
        model.fuse_model(is_qat=False)
        model.qconfig = quantization.get_default_qconfig(engine)
        prepared = quantization.prepare(model)
        with torch.no_grad():
            prepared(x)
        export(f"torch-{engine}", quantization.convert(prepared))

    model = trained()
    model.fuse_model(is_qat=False)
    activation = quantization.FakeQuantize.with_args(
        observer=quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255, reduce_range=False
    )
    weight = quantization.FakeQuantize.with_args(
        observer=quantization.PerChannelMinMaxObserver,
        quant_min=-128,
        quant_max=127,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
    )
    model.qconfig = quantization.QConfig(activation=activation, weight=weight)
    simulated = quantization.prepare_qat(model.train())
    with torch.no_grad():
        simulated.eval()(x)
        simulated.apply(quantization.disable_observer)
    export("torch-simulated", simulated)


def with_torchao():
    """torchao's quantizer of exported programs (PT2E) for x86, as torch.onnx's newer exporter has them."""
    import timm  # whose blocks do not share a ReLU, which the quantizer cannot tell apart
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    torch.manual_seed(1)
    model = timm.create_model("resnet18", pretrained=False, num_classes=7)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    x = torch.from_numpy(images)
    with torch.no_grad():
        model.train()(x)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(model.eval(), (x,), dynamic_shapes=({0: batch},)).module()
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(program, quantizer)
    with torch.no_grad():
        prepared(x)
    options = {"external_data": False, "input_names": ["x"], "dynamic_shapes": ({0: batch},), "verbose": False}
    torch.onnx.export(convert_pt2e(prepared), (x[:8],), path("torchao-x86"), dynamo=True, **options)
    finish("torchao-x86")


quant_pre_process(path("plain"), path("prepared"))
with_onnxruntime("U8S8", "prepared", U8, S8)
with_onnxruntime("U8S8, batch norms apart", "plain", U8, S8)
with_onnxruntime("U8S8, one scale a tensor", "prepared", U8, S8, per_channel=False)
with_onnxruntime("U8U8, one scale a tensor", "prepared", U8, U8, per_channel=False)
with_onnxruntime("U8U8", "prepared", U8, U8)
with_onnxruntime("S8S8", "prepared", S8, S8)
with_onnxruntime("S8S8, symmetric", "prepared", S8, S8, symmetric=True)
with_onnxruntime("S8S8, symmetric, batch norms apart", "plain", S8, S8, symmetric=True)
with_onnxruntime("U8S8, convolutions only", "prepared", U8, S8, op_types_to_quantize=["Conv"])
with_onnxruntime("U8S8, percentile", "prepared", U8, S8, calibrate_method=CalibrationMethod.Percentile)
with_onnxruntime("U8S8, rounded at run time", "prepared", U8, S8, extra={"AddQDQPairToWeight": True})
with_torch()
with_torchao()
