"""Makes a checkpoint with a framework, runs it on one image, and writes the files, the image and the logits.

frameworks.py FOLDER FRAMEWORK CASE: FOLDER gets CASE in each form that the framework has (or a folder CASE in Hugging Face's layout)
and CASE.io.safetensors. Exits with 3 where the framework is not installed.
"""

import os
import sys

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="2")
SIDE, CLASSES = 64, 7


def main(folder, framework, case):
    import numpy as np
    from safetensors.numpy import save_file

    random = np.random.default_rng(5)
    image = random.standard_normal((1, SIDE, SIDE, 3)).astype(np.float32)
    path = os.path.join(folder, case)
    makers = {
        "torchvision": torchvision_,
        "torch.onnx": torch_onnx,
        "timm": timm_,
        "transformers": transformers_,
        "keras": keras_,
    }
    logits = makers[framework](path, case, image, random)
    tensors = logits if isinstance(logits, dict) else {"logits": logits}
    tensors = {name: np.ascontiguousarray(tensor[0], np.float32) for name, tensor in tensors.items()}
    save_file({"image": image[0], **tensors}, path + ".io.safetensors")


def torchvision_(path, case, image, random):
    import torch
    from safetensors.torch import save_file
    from torchvision import models

    model = getattr(models, case)(num_classes=CLASSES)
    logits = in_torch(model, image)
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path + ".safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path + ".pth")
    torch.save(model.state_dict(), path + ".plain.pth", _use_new_zipfile_serialization=False)
    torch.save(model, path + ".whole.pth")
    return logits


def torch_onnx(path, case, image, random):
    import onnxscript  # which the newer exporter needs
    import timm
    import torch
    from torchvision import models

    if hasattr(models, case):
        model = getattr(models, case)(num_classes=CLASSES)
    else:
        model = timm.create_model(case, pretrained=False, num_classes=CLASSES)
    logits = in_torch(model, image)
    example = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous()
    for name, options in {
        "old": dict(dynamo=False),
        "unfolded": dict(dynamo=False, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE),
        "new": dict(dynamo=True, external_data=False),
        "external": dict(dynamo=True, external_data=True),
    }.items():
        torch.onnx.export(model, (example,), f"{path}.{name}.onnx", **options)
    return logits


def timm_(path, case, image, random):
    import timm
    from safetensors.torch import save_file

    model = timm.create_model(case, pretrained=False, num_classes=CLASSES)
    logits = in_torch(model, image)
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path + ".safetensors")
    return logits


def transformers_(path, case, image, random):
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
    logits = in_torch(model, image, lambda x: model(x).logits)
    model.save_pretrained(path)
    return logits


def in_torch(model, image, run=None):
    """Makes the batch norms do something, and runs the model."""
    import torch

    torch.manual_seed(1)
    model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.no_grad():
        return (run or model)(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()


def keras_until_2018(keras):
    """ResNet-50 as keras.applications had it until Keras 2.2.4: layers of Caffe's names, the epsilon Keras has unless told otherwise."""
    layers = keras.layers

    def conv_bn(x, filters, kernel, name, strides=1, padding="valid"):
        x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, name=name)(x)
        return layers.BatchNormalization(name="bn_conv1" if name == "conv1" else "bn" + name[3:])(x)

    inputs = keras.Input((SIDE, SIDE, 3))
    x = conv_bn(layers.ZeroPadding2D(3)(inputs), 64, 7, "conv1", strides=2)
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(layers.ReLU()(x)))
    for stage, (count, width) in enumerate(zip([3, 4, 6, 3], [64, 128, 256, 512]), start=2):
        for block in "abcdef"[:count]:
            name, strides = f"res{stage}{block}_branch", 2 if block == "a" and stage > 2 else 1
            y = layers.ReLU()(conv_bn(x, width, 1, name + "2a", strides))
            y = layers.ReLU()(conv_bn(y, width, 3, name + "2b", padding="same"))
            y = conv_bn(y, 4 * width, 1, name + "2c")
            short = conv_bn(x, 4 * width, 1, name + "1", strides) if block == "a" else x
            x = layers.ReLU()(layers.Add()([y, short]))
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="fc1000")(x))


def keras_(path, case, image, random):
    import keras

    if case == "until 2018":
        model = keras_until_2018(keras)
    else:
        model = getattr(keras.applications, case)(
            weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES, classifier_activation=None
        )
    for layer in model.layers:
        values = []
        for variable in layer.variables:
            value = variable.numpy()
            if variable.name in ("gamma", "moving_variance"):
                value = random.uniform(0.5, 1.5, value.shape)
            elif variable.name in ("beta", "moving_mean", "bias"):
                value = random.uniform(-0.5, 0.5, value.shape)
            values.append(value.astype("float32"))
        if values:
            layer.set_weights(values)
    model.save(path + ".h5")
    model.save(path + ".keras")
    model.save_weights(path + ".weights.h5")
    logits_of = lambda pixels: keras.ops.convert_to_numpy(model(pixels, training=False))
    rgb = random.integers(0, 256, image.shape).astype("float32")
    results = {
        "logits": logits_of(image),
        "rgb": rgb,
        "logits of rgb": logits_of(keras.applications.resnet.preprocess_input(rgb.copy())),
    }
    # A classifier of somebody's own on top of the network of keras.applications, which is a layer of it.
    base = keras.Model(model.input, model.get_layer("avg_pool").output, name=case.lower())
    head = keras.layers.Dense(CLASSES, name="flowers")
    nested = keras.Sequential([keras.Input((SIDE, SIDE, 3)), base, head])
    head.set_weights(model.layers[-1].get_weights())
    nested.save(path + ".nested.h5")
    nested.save(path + ".nested.keras")
    nested.save_weights(path + ".nested.weights.h5")
    # Images prepared within the model.
    inputs = keras.Input((SIDE, SIDE, 3))
    prepared = keras.Model(inputs, head(base(keras.applications.resnet.preprocess_input(inputs))))
    prepared.save(path + ".prepared.keras")
    return results


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed")
        sys.exit(3)
