"""Saves with PaddlePaddle all that it can save and what it cannot, beside it what each tensor is in float32, and prints what there is.

paddle_files.py FOLDER: prints JSON, `read` the tensors of each file that can be read, [name, shape, whether they are numbers that
are read] in the order of FILE.expected, and `refused` what Paddle itself does not save.
"""

import json
import os
import pickle
import sys

os.environ.update(CUDA_VISIBLE_DEVICES="", GLOG_minloglevel="2")

import numpy as np
import paddle
from paddle import nn

read, refused = {}, {}


def main(folder):
    os.chdir(folder)
    paddle.seed(1)
    net = nn.Sequential(("conv", nn.Conv2D(3, 4, 5)), ("norm", nn.BatchNorm2D(4)), ("mean", nn.AdaptiveAvgPool2D(1)))
    state = net.state_dict()
    for protocol in (2, 3, 4):
        keep(f"state{protocol}", state, protocol=protocol)
    for dtype in ("float16", "bfloat16", "float64"):
        keep(dtype, {name: tensor.astype(dtype) for name, tensor in state.items()})
    keep("kinds", {"scalar": paddle.to_tensor(1.5), "none": paddle.zeros([0, 3]), "integers": paddle.arange(3)})
    for protocol in (2, 4):
        keep(f"nested{protocol}", {"epoch": 3, "nets": [state, {"ema": state}], "loss": paddle.to_tensor(2.5)}, protocol=protocol)
    keep("tensor", paddle.arange(5, dtype="float32"))
    not_saved("layer", net)
    not_saved("protocol5", state, protocol=5)
    with open("pickled-layer.pdparams", "wb") as file:
        pickle.dump(net, file)
    paddle.save(net.conv.weight, "binary", use_binary_format=True)
    optimizers(net)
    net.eval()
    paddle.jit.save(net, "program", input_spec=[paddle.static.InputSpec([None, 3, 8, 8])])
    static_graphs()
    print(json.dumps({"read": read, "refused": refused}))


def keep(name, value, **options):
    tensors = []
    with open(name + ".expected", "wb") as file:
        for path, tensor in leaves(value, ""):
            dtype = str(tensor.dtype)
            file.write(np.ascontiguousarray(tensor.astype("float32").numpy()).tobytes())
            tensors.append([path, list(tensor.shape), "float" in dtype])
    paddle.save(value, name + ".pdparams", **options)
    read[name] = tensors


def leaves(value, name):
    if isinstance(value, paddle.Tensor):
        yield name, value
    elif isinstance(value, (dict, list)):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(member, f"{name}.{key}" if name else str(key))


def not_saved(name, value, **options):
    try:
        paddle.save(value, name + ".pdparams", **options)
    except Exception as error:
        refused[name] = str(error)


def optimizers(net):
    rate = paddle.optimizer.lr.StepDecay(0.1, 3)
    kinds = {
        "momentum": paddle.optimizer.Momentum,
        "adam": paddle.optimizer.Adam,
        "adamw": paddle.optimizer.AdamW,
        "rmsprop": paddle.optimizer.RMSProp,
        "adagrad": paddle.optimizer.Adagrad,
        "adadelta": paddle.optimizer.Adadelta,
        "adamax": paddle.optimizer.Adamax,
        "lamb": paddle.optimizer.Lamb,
        "sgd": paddle.optimizer.SGD,
    }
    for name, kind in kinds.items():
        own = {"initial_accumulator_value": 0.0} if name == "adagrad" else {}
        optimizer = kind(learning_rate=rate, parameters=net.parameters(), **own)
        net(paddle.rand([2, 3, 8, 8])).sum().backward()
        optimizer.step()
        paddle.save(optimizer.state_dict(), name + ".pdopt")


def static_graphs():
    paddle.enable_static()
    make_program("static")
    with paddle.pir_utils.OldIrGuard():  # what Paddle wrote before version 3
        make_program("older")
    paddle.disable_static()


def make_program(name):
    program, startup = paddle.static.Program(), paddle.static.Program()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.program_guard(program, startup):
        x = paddle.static.data("x", [None, 3, 8, 8])
        y = nn.BatchNorm2D(4)(nn.Conv2D(3, 4, 5)(x))
        paddle.optimizer.Momentum(0.1).minimize(y.mean())
        executor.run(startup)
        paddle.static.save(program, name)
        paddle.static.save_inference_model(name + "-inference", [x], [y], executor, program=program)


if __name__ == "__main__":
    main(sys.argv[1])
