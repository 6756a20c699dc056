# Runs one of residual's networks in a Python engine, one engine per process, for bench/python.ts. The engines are in peers/.
#
#   peer.py version ENGINE
#   peer.py serve ENGINE FILE THREADS PRECISION NETWORK           answers questions, a line of JSON each, from standard input
#   peer.py start ENGINE FILE THREADS PRECISION NETWORK N,H,W,C   opens FILE, runs one batch, prints what that took
#
# FILE is what the engine reads: ONNX, or safetensors, float32 under the names of NETWORK. PRECISION is fp32, bf16 or int8.
# NETWORK is the graph as lib/model/graph.ts has it, with the id of the logits; for an engine that quantizes by itself also with
# the images to do that with, {"file", "dims"}.
#
# An engine is a class: Engine(path, threads, precision, network), version(), prepare(images, once), feed(images), which takes
# others of the same shape, and run(), which computes at least one batch of what it was given last and returns the logits of each,
# in float32. `once`: it will run one time only, and need not choose how.
import importlib
import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# The module and class of each engine.
ENGINES = {
    "pytorch": ("pytorch", "PyTorch"),
    "opencv": ("opencv", "OpenCV"),
    "tensorflow": ("tensorflow", "TensorFlow"),
    "openvino-latency": ("openvino", "OpenVINOLatency"),
    "openvino-throughput": ("openvino", "OpenVINOThroughput"),
}


def find(name):
    module, kind = ENGINES[name]
    return getattr(importlib.import_module("peers." + module), kind)  # not at the top: loading an engine is part of a start


def answer(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def logits_of(engine):
    """The logits of the batch. Batches computed at the same time are of the same images."""
    import numpy as np

    first, *others = engine.run()
    for other in others:
        if not np.linalg.norm(other - first) <= 1e-4 * np.linalg.norm(first):
            raise RuntimeError("Batches of the same images have different logits when computed at the same time.")
    return first


def serve(engine):
    from peers.weights import read_images

    for line in sys.stdin:
        question = json.loads(line)
        if "images" in question:
            images = read_images(question["images"], question["dims"])
            engine.prepare(images, once=False)
            answer({"logits": logits_of(engine).ravel().tolist()})
        elif "others" in question:
            engine.feed(read_images(question["others"], question["dims"]))
            answer({"logits": logits_of(engine).ravel().tolist()})
            engine.feed(images)
        else:
            begin = time.perf_counter()
            batches = len(engine.run())
            answer({"milliseconds": (time.perf_counter() - begin) * 1000 / batches})


def peak_bytes():
    if sys.platform != "linux":
        return None
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def start(make_engine, dims):
    before, begin = peak_bytes(), time.perf_counter()
    engine = make_engine()
    import numpy as np

    engine.prepare(np.full(dims, 0.5, np.float32), once=True)
    (logits,) = engine.run()
    milliseconds = (time.perf_counter() - begin) * 1000
    peak = None if before is None else peak_bytes() - before
    answer({"milliseconds": milliseconds, "peakBytes": peak, "logits": logits.size})


def main(mode, name, *rest):
    if mode == "version":
        print(find(name).version())
        return
    path, threads, precision, network = rest[:4]

    def make_engine():
        return find(name)(path, int(threads), precision, json.loads(network))

    if mode == "serve":
        serve(make_engine())
    else:
        start(make_engine, [int(size) for size in rest[4].split(",")])


if __name__ == "__main__":
    main(*sys.argv[1:])
