"""Saves keras.applications' ResNet-50, with random weights, to the folder given, and the same tensors as safetensors."""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from safetensors.numpy import save_file

folder = sys.argv[1]
random = np.random.default_rng(1)
model = keras.applications.ResNet50(weights=None, classes=10, input_shape=(64, 64, 3))
tensors = {}
for layer in model.layers:
    for weight in layer.weights:
        values = random.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path else random.normal(0, 0.05, weight.shape)
        weight.assign(values.astype("float32"))
        tensors[f"{layer.name}/{weight.name}"] = np.ascontiguousarray(weight.numpy())
save_file(tensors, os.path.join(folder, "expected.safetensors"))
model.save(os.path.join(folder, "whole.h5"))
model.save(os.path.join(folder, "model.keras"))
model.save_weights(os.path.join(folder, "some.weights.h5"))
