# Reads the weights of a safetensors file, and images.
import json
import struct

import numpy as np


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + length)

    def tensor(entry):
        begin, end = entry["data_offsets"]
        return np.array(data[begin:end].view(np.float32)).reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


def read_images(path, dims):
    return np.fromfile(path, np.float32).reshape(dims)
