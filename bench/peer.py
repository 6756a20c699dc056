# How do PyTorch, OpenCV's DNN and TensorFlow run a network of residual's? One of them a process, for bench/python.ts.
#
#   peer.py version ENGINE
#   peer.py serve ENGINE FILE THREADS NETWORK           answers questions, a line of JSON each, from standard input
#   peer.py start ENGINE FILE THREADS NETWORK N,H,W,C   opens FILE, runs one batch, prints what that took
#
# FILE is safetensors, float32 under the names of NETWORK, for OpenCV ONNX. NETWORK is the graph as lib/model/graph.ts has it,
# with the id of the logits.
import json
import os
import struct
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""


def read_safetensors(path):
    import numpy as np

    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + length)

    def tensor(entry):
        begin, end = entry["data_offsets"]
        return np.array(data[begin:end].view(np.float32)).reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


class PyTorch:
    """Frozen TorchScript with batch norms folded and oneDNN, or plain modules, both channels last: whichever is faster here."""

    @staticmethod
    def version():
        import torch

        return torch.__version__

    def __init__(self, path, threads, network):
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        weights = {name: torch.from_numpy(values) for name, values in read_safetensors(path).items()}
        self.torch = torch
        self.module = self.build(network, weights).eval().to(memory_format=torch.channels_last)
        self.frozen = None

    def build(self, network, weights):
        torch, nn = self.torch, self.torch.nn

        def convolution(layer):
            weight = weights[layer["name"] + ".weight"]
            groups, kernel = layer["groups"], layer["kernel"]
            module = nn.Conv2d(
                weight.shape[1] * groups, weight.shape[0], kernel, layer["stride"], layer["padding"], 1, groups, False
            )
            module.weight.data = weight
            return module

        def normalization(layer):
            module = nn.BatchNorm2d(len(weights[layer["name"] + ".weight"]), layer["epsilon"])
            leaves = ["weight", "bias", "running_mean", "running_var"]
            module.load_state_dict({leaf: weights[layer["name"] + "." + leaf] for leaf in leaves}, strict=False)
            return module

        def fully_connected(layer):
            weight = weights[layer["name"] + ".weight"]
            module = nn.Linear(weight.shape[1], weight.shape[0])
            module.weight.data, module.bias.data = weight, weights[layer["name"] + ".bias"]
            return nn.Sequential(nn.Flatten(), module)

        make = {
            "conv": convolution,
            "batchNorm": normalization,
            "relu": lambda layer: nn.ReLU(),
            "maxPool": lambda layer: nn.MaxPool2d(layer["kernel"], layer["stride"], layer["padding"]),
            "localAvgPool": lambda layer: nn.AvgPool2d(layer["kernel"]),
            "avgPool": lambda layer: nn.AdaptiveAvgPool2d(1),
            "linear": fully_connected,
        }

        class Module(nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = nn.ModuleDict(
                    {str(i): make[layer["kind"]](layer) for i, layer in enumerate(network["layers"]) if layer["kind"] in make}
                )

            def forward(self, x):
                values = {0: x}
                for i, layer in enumerate(network["layers"]):
                    if layer["kind"] == "add":
                        values[i] = values[layer["src"]] + values[layer["other"]]
                    elif layer["kind"] != "input":
                        values[i] = self.parts[str(i)](values[layer["src"]])
                return values[network["logits"]]

        return Module()

    def prepare(self, pictures, choose):
        torch = self.torch
        nchw = torch.from_numpy(pictures).permute(0, 3, 1, 2)  # a view: channels last already
        self.x = nchw.contiguous(memory_format=torch.channels_last)
        self.run_module = self.module
        if choose:
            with torch.inference_mode():
                traced = torch.jit.trace(self.module, self.x)
                frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
            self.run_module = min([self.module, frozen], key=self.fastest_of_three)

    def fastest_of_three(self, module):
        self.run_module = module
        times = []
        for _ in range(4):  # the first compiles
            begin = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - begin)
        return min(times[1:])

    def run(self):
        with self.torch.inference_mode():
            return self.run_module(self.x).numpy()


class OpenCV:
    @staticmethod
    def version():
        import cv2

        return cv2.__version__

    def __init__(self, path, threads, network):
        import cv2

        cv2.setNumThreads(threads)
        self.net = cv2.dnn.readNetFromONNX(path)
        self.net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)

    def prepare(self, pictures, choose):
        import numpy as np

        self.x = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))

    def run(self):
        self.net.setInput(self.x, "x")
        return self.net.forward("logits")


class TensorFlow:
    """A graph with the weights as constants, channels last."""

    @staticmethod
    def version():
        import tensorflow

        return tensorflow.__version__

    def __init__(self, path, threads, network):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.tf = tf
        if any(layer.get("groups", 1) > 1 for layer in network["layers"]):
            # Where oneDNN is not used, TensorFlow fuses grouped convolutions into an operation that then refuses groups.
            tf.config.optimizer.set_experimental_options({"remapping": False})
        weights = read_safetensors(path)

        def windows(x, layer, value):
            padding = layer["padding"]
            return tf.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]], constant_values=value)

        def layer_of(layer, values):
            kind = layer["kind"]
            x = values[layer["src"]]
            if kind == "conv":
                kernel = tf.constant(weights[layer["name"] + ".weight"].transpose(2, 3, 1, 0))
                return tf.nn.conv2d(windows(x, layer, 0.0), kernel, layer["stride"], "VALID")
            if kind == "batchNorm":
                weight, bias, mean, variance = (
                    tf.constant(weights[layer["name"] + "." + leaf])
                    for leaf in ["weight", "bias", "running_mean", "running_var"]
                )
                return tf.compat.v1.nn.fused_batch_norm(
                    x, weight, bias, mean, variance, epsilon=layer["epsilon"], is_training=False
                )[0]
            if kind == "relu":
                return tf.nn.relu(x)
            if kind == "add":
                return x + values[layer["other"]]
            if kind == "maxPool":
                return tf.nn.max_pool2d(windows(x, layer, float("-inf")), layer["kernel"], layer["stride"], "VALID")
            if kind == "localAvgPool":
                return tf.nn.avg_pool2d(x, layer["kernel"], layer["kernel"], "VALID")
            if kind == "avgPool":
                return tf.reduce_mean(x, [1, 2])
            if kind == "linear":
                weight = tf.constant(weights[layer["name"] + ".weight"].T)
                return tf.matmul(x, weight) + weights[layer["name"] + ".bias"]
            raise ValueError("There is no layer of kind " + kind)

        def forward(x):
            values = {0: x}
            for i, layer in enumerate(network["layers"]):
                if layer["kind"] != "input":
                    values[i] = layer_of(layer, values)
            return values[network["logits"]]

        self.forward = tf.function(forward)

    def prepare(self, pictures, choose):
        self.x = self.tf.constant(pictures)

    def run(self):
        return self.forward(self.x).numpy()


ENGINES = {"pytorch": PyTorch, "opencv": OpenCV, "tensorflow": TensorFlow}


def answer(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def serve(engine):
    import numpy as np

    for line in sys.stdin:
        question = json.loads(line)
        if "pictures" in question:
            pictures = np.fromfile(question["pictures"], np.float32).reshape(question["dims"])
            engine.prepare(pictures, choose=True)
            answer({"logits": engine.run().ravel().tolist()})
        else:
            begin = time.perf_counter()
            engine.run()
            answer({"milliseconds": (time.perf_counter() - begin) * 1000})


def peak_bytes():
    if sys.platform != "linux":
        return None
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def start(make_engine, dims):
    before, begin = peak_bytes(), time.perf_counter()
    engine = make_engine()
    import numpy as np

    engine.prepare(np.full(dims, 0.5, np.float32), choose=False)
    logits = engine.run().size
    milliseconds = (time.perf_counter() - begin) * 1000
    peak = None if before is None else peak_bytes() - before
    answer({"milliseconds": milliseconds, "peakBytes": peak, "logits": logits})


def main(mode, name, *rest):
    kind = ENGINES[name]
    if mode == "version":
        print(kind.version())
        return
    path, threads, network = rest[:3]

    def make_engine():
        return kind(path, int(threads), json.loads(network))

    if mode == "serve":
        serve(make_engine())
    else:
        start(make_engine, [int(size) for size in rest[3].split(",")])


main(*sys.argv[1:])
