"""What the scripts for the clients share: what they send, what must come back, and how they check it."""
import base64
import json
import re
import sys

import numpy as np

# Every datatype of the protocol, with what numpy has for it. BF16 is numpy's only with ml_dtypes.
DATATYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


class Manifest:
    """What a test in TypeScript has computed, read from the file that it names."""

    def __init__(self, path):
        with open(path) as file:
            facts = json.load(file)
        self.http = facts["http"]  # host:port
        self.grpc = facts["grpc"]
        self.model = facts["model"]
        self.labels = facts["labels"]
        floats = lambda text, *shape: np.frombuffer(base64.b64decode(text), np.float32).reshape(shape)
        count = facts["count"]
        images = np.array([base64.b64decode(text) for text in facts["pictures"]], np.object_)
        self.inputs = {
            "pictures": images,
            "pixels": np.frombuffer(base64.b64decode(facts["pixels"]), np.uint8).reshape(count, 64, 64, 3),
            "tensor": floats(facts["tensor"], count, 3, 64, 64),
        }
        self.base64 = np.array(facts["pictures"], np.object_)
        self.expected = {
            name: {output: floats(text, count, -1) for output, text in outputs.items()}
            for name, outputs in facts["expected"].items()
        }
        self.classes = facts["classes"]  # of each image, the three greatest as value:index:label

    def datatype(self, name):
        return {"pictures": "BYTES", "pixels": "UINT8", "tensor": "FP32"}[name]

    def others(self, name):
        """The input `name` in every datatype that is not its own, ones in its shape."""
        shape = self.inputs[name].shape
        for datatype, dtype in DATATYPES.items():
            if datatype != self.datatype(name):
                yield datatype, np.full(shape, "1", np.object_) if datatype == "BYTES" else np.ones(shape, dtype)


def same(actual, expected, what):
    """Numbers are the same to the bit, in type and shape as well."""
    assert actual is not None, f"{what}: there is no such output"
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype}, not {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: {actual.shape}, not {expected.shape}"
    assert actual.tobytes() == expected.tobytes(), f"{what}: differs by {np.abs(actual - expected).max()}"


def equal(actual, expected, what):
    assert actual == expected, f"{what}: {actual!r}, not {expected!r}"


def texts(elements):
    """A BYTES tensor as lists of text."""
    return [[e.decode() if isinstance(e, bytes) else str(e) for e in row] for row in elements]


def matches(error, pattern, what):
    assert re.search(pattern, str(error)), f"{what}: {error} does not match {pattern}"


def refused(call, error, pattern, what):
    """`call` must raise `error` with such a message."""
    try:
        answer = call()
    except error as raised:
        matches(raised, pattern, what)
        return
    raise AssertionError(f"{what}: not refused but answered with {answer}")


async def refused_later(awaitable, error, pattern, what):
    try:
        answer = await awaitable
    except error as raised:
        matches(raised, pattern, what)
        return
    raise AssertionError(f"{what}: not refused but answered with {answer}")


def run(*checks):
    """Runs every check with the manifest that the command line names, and prints the names of those that passed."""
    manifest = Manifest(sys.argv[1])
    for check in checks:
        check(manifest)
        print(check.__name__)
