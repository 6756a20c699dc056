"""Has a framework prepare one image and run a network on it, and writes checkpoint, sidecars, pixels and logits.

preprocessing.py FOLDER: FOLDER gets image.png and, for each case, a folder of Hugging Face's layout and CASE.io.safetensors.
"""

import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="2")

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models import save_for_hf
from transformers import ResNetConfig, ResNetForImageClassification
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

folder = sys.argv[1]
CLASSES = 5
imagenet = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])


def image():
    # 256 pixels high it is 347 wide, of which the 224 in the middle would begin at 61.5.
    noise = np.random.default_rng(3).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((312, 230), Image.Resampling.BICUBIC)


def lively(model):
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def write(case, pixels, logits):
    tensors = dict(pixels=pixels[0].permute(1, 2, 0).contiguous(), logits=logits[0].contiguous())
    save_file(tensors, os.path.join(folder, case + ".io.safetensors"))


def transformers_case(case, processor, **config):
    labels = {i: f"label {i}" for i in range(CLASSES)}
    config = ResNetConfig(
        **dict(dict(embedding_size=16, hidden_sizes=[16, 32, 64, 128], depths=[2, 2, 2, 2], layer_type="basic"), **config),
        id2label=labels,
        label2id={label: i for i, label in labels.items()},
    )
    model = lively(ResNetForImageClassification(config))
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    write(case, pixels, model(pixels).logits)
    model.save_pretrained(os.path.join(folder, case))
    processor.save_pretrained(os.path.join(folder, case))


def timm_case(case, **data):
    model = lively(timm.create_model("resnet18", num_classes=CLASSES))
    model.pretrained_cfg.update(data)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    pixels = transform(image)[None]
    write(case, pixels, model(pixels))
    save_for_hf(model, os.path.join(folder, case), model_config=dict(label_names=[f"label {i}" for i in range(CLASSES)]))


image = image()
image.save(os.path.join(folder, "image.png"))
bottleneck = dict(hidden_sizes=[64, 128, 256, 512], depths=[3, 4, 6, 3], layer_type="bottleneck")
with torch.no_grad():
    transformers_case("crop", ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875, resample=3, **imagenet))
    transformers_case(
        "squashed",
        ConvNextImageProcessorPil(size={"shortest_edge": 384}, resample=2, **imagenet),
        **bottleneck,
        downsample_in_bottleneck=True,
    )
    transformers_case(
        "extent",
        ViTImageProcessorPil(size={"height": 96, "width": 128}, resample=2, rescale_factor=1 / 127.5, do_normalize=False),
    )
    transformers_case(
        "shorter-side",
        BitImageProcessorPil(size={"shortest_edge": 96}, crop_size={"height": 80, "width": 64}, resample=3, **imagenet),
        **bottleneck,
    )
    transformers_case("bytes", ViTImageProcessorPil(size={"height": 64, "width": 64}, do_rescale=False, image_mean=[1, 2, 3], image_std=[50, 60, 70]))
    timm_case("timm-crop", input_size=(3, 224, 224), crop_pct=0.875, interpolation="bicubic")
    timm_case("timm", input_size=(3, 96, 96), crop_pct=0.95, interpolation="bicubic")
    timm_case("timm-whole", input_size=(3, 64, 64), crop_pct=1.0, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    timm_case("timm-squash", input_size=(3, 64, 96), crop_pct=0.875, crop_mode="squash", interpolation="bicubic")
