"""Makes a checkpoint with a framework, runs it on one picture, and writes file, picture and logits.

frameworks.py FOLDER FRAMEWORK CASE: FOLDER gets CASE.safetensors (or a folder CASE in Hugging Face's layout) and CASE.io.safetensors.
Exits with 3 where the framework is not installed.
"""

import os
import sys

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="2")
SIDE, CLASSES = 64, 7


def main(folder, framework, case):
    import numpy as np
    from safetensors.numpy import save_file

    random = np.random.default_rng(5)
    picture = random.standard_normal((1, SIDE, SIDE, 3)).astype(np.float32)
    path = os.path.join(folder, case)
    logits = {"torchvision": torchvision_, "timm": timm_, "transformers": transformers_, "keras": keras_}[framework](
        path, case, picture, random
    )
    save_file({"picture": picture[0], "logits": np.asarray(logits, np.float32)[0]}, path + ".io.safetensors")


def torchvision_(path, case, picture, random):
    from torchvision import models

    model = getattr(models, case)(num_classes=CLASSES)
    return in_torch(model, picture, path)


def timm_(path, case, picture, random):
    import timm

    model = timm.create_model(case, pretrained=False, num_classes=CLASSES)
    return in_torch(model, picture, path)


def transformers_(path, case, picture, random):
    from transformers import ResNetConfig, ResNetForImageClassification

    basic = case == "basic"
    config = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64, 128] if basic else [64, 128, 256, 512],
        depths=[2, 2, 2, 2] if basic else [3, 4, 6, 3],
        layer_type="basic" if basic else "bottleneck",
        downsample_in_bottleneck=case == "v1",
        id2label={i: f"label {i}" for i in range(CLASSES)},
        label2id={f"label {i}": i for i in range(CLASSES)},
    )
    model = ResNetForImageClassification(config)
    logits = in_torch(model, picture, None, lambda x: model(x).logits)
    model.save_pretrained(path)
    return logits


def in_torch(model, picture, path, run=None):
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.no_grad():
        logits = (run or model)(torch.from_numpy(picture).permute(0, 3, 1, 2))
    if path:
        save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path + ".safetensors")
    return logits.numpy()


def keras_(path, case, picture, random):
    import keras
    from safetensors.numpy import save_file

    model = getattr(keras.applications, case)(
        weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES, classifier_activation=None
    )
    tensors = {}
    for layer in model.layers:
        values = []
        for variable in layer.variables:
            value = variable.numpy()
            if variable.name in ("gamma", "moving_variance"):
                value = random.uniform(0.5, 1.5, value.shape)
            elif variable.name in ("beta", "moving_mean", "bias"):
                value = random.uniform(-0.5, 0.5, value.shape)
            values.append(value.astype("float32"))
            tensors[f"{layer.name}/{variable.name}"] = values[-1]
        if values:
            layer.set_weights(values)
    save_file(tensors, path + ".safetensors")
    return keras.ops.convert_to_numpy(model(picture, training=False))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed")
        sys.exit(3)
