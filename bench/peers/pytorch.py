# PyTorch, channels last, in whichever of its ways is fastest here: in float32 and bfloat16 as modules or as frozen TorchScript with
# batch norms folded and oneDNN, in bfloat16 also compiled by Inductor; in int8 quantized by FX for its x86 backends.
import copy
import time

import torch
from torch import nn

from peers.weights import read_images, read_safetensors


class PyTorch:
    @staticmethod
    def version():
        return torch.__version__

    def __init__(self, path, threads, precision, network):
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        weights = {name: torch.from_numpy(values) for name, values in read_safetensors(path).items()}
        module = Module(network, weights).eval().to(memory_format=torch.channels_last)
        self.type = torch.bfloat16 if precision == "bf16" else torch.float32
        self.modules = [module.to(self.type)]
        if precision == "int8":
            self.modules = [quantized(module, backend, network) for backend in BACKENDS]

    def prepare(self, images, once):
        self.feed(images)
        self.run_module = self.modules[0]
        if not once:
            ways = self.modules + self.frozen() + self.compiled()
            self.run_module = min(ways, key=self.fastest_of_three)

    def feed(self, images):
        nchw = torch.from_numpy(images).permute(0, 3, 1, 2)  # a view: channels last already
        self.x = nchw.contiguous(memory_format=torch.channels_last)

    def frozen(self):
        x = self.x.to(self.type)
        with torch.inference_mode():
            frozen = [torch.jit.freeze(torch.jit.trace(module, x)) for module in self.modules]
            again = [torch.jit.freeze(torch.jit.trace(module, x)) for module in self.modules]
            return frozen + [torch.jit.optimize_for_inference(module) for module in again]

    def compiled(self):
        if self.type != torch.bfloat16:  # in float32 it takes half a minute and wins nothing
            return []
        try:
            import torch._inductor.config as inductor

            inductor.freezing = True
            module = torch.compile(self.modules[0], dynamic=False)
            with torch.no_grad():
                module(self.x.to(self.type))
            return [module]
        except Exception:  # of any kind: it needs a C++ compiler, and the others need none
            return []

    def fastest_of_three(self, module):
        self.run_module = module
        times = []
        for _ in range(4):  # the first compiles
            begin = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - begin)
        return min(times[1:])

    def run(self):
        with torch.no_grad():
            return [self.run_module(self.x.to(self.type)).float().numpy()]


BACKENDS = ["x86", "onednn"]


def quantized(module, backend, network):
    """A copy with ranges that PyTorch's own observers found, and with batch norms folded."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    torch.backends.quantized.engine = backend
    images = read_images(network["samples"]["file"], network["samples"]["dims"])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    observed = prepare_fx(copy.deepcopy(module), get_default_qconfig_mapping(backend), (x[:1],))
    with torch.inference_mode():
        for image in x.split(1):
            observed(image)
    return convert_fx(observed)


class Module(nn.Module):
    def __init__(self, network, weights):
        super().__init__()
        self.network = network
        self.parts = nn.ModuleDict(
            {
                str(i): MAKE[layer["kind"]](layer, weights)
                for i, layer in enumerate(network["layers"])
                if layer["kind"] in MAKE
            }
        )

    def forward(self, x):
        values = {0: x}
        for i, layer in enumerate(self.network["layers"]):
            if layer["kind"] == "add":
                values[i] = values[layer["src"]] + values[layer["other"]]
            elif layer["kind"] != "input":
                values[i] = self.parts[str(i)](values[layer["src"]])
        return values[self.network["logits"]]


def convolution(layer, weights):
    weight = weights[layer["name"] + ".weight"]
    groups, kernel = layer["groups"], layer["kernel"]
    module = nn.Conv2d(
        weight.shape[1] * groups, weight.shape[0], kernel, layer["stride"], layer["padding"], 1, groups, False
    )
    module.weight.data = weight
    return module


def normalization(layer, weights):
    module = nn.BatchNorm2d(len(weights[layer["name"] + ".weight"]), layer["epsilon"])
    leaves = ["weight", "bias", "running_mean", "running_var"]
    module.load_state_dict({leaf: weights[layer["name"] + "." + leaf] for leaf in leaves}, strict=False)
    return module


def fully_connected(layer, weights):
    weight = weights[layer["name"] + ".weight"]
    module = nn.Linear(weight.shape[1], weight.shape[0])
    module.weight.data, module.bias.data = weight, weights[layer["name"] + ".bias"]
    return nn.Sequential(nn.Flatten(), module)


MAKE = {
    "conv": convolution,
    "batchNorm": normalization,
    "relu": lambda layer, weights: nn.ReLU(),
    "maxPool": lambda layer, weights: nn.MaxPool2d(layer["kernel"], layer["stride"], layer["padding"]),
    "localAvgPool": lambda layer, weights: nn.AvgPool2d(layer["kernel"]),
    "globalAvgPool": lambda layer, weights: nn.AdaptiveAvgPool2d(1),
    "linear": fully_connected,
}
