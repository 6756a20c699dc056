# OpenVINO with the same number of threads as the others and as free to move between cores, with either of its hints. In int8 it
# reads a quantized network, and whatever that leaves in float it computes as it likes best.
import openvino as ov
from openvino import properties
from openvino.properties import hint


class OpenVINO:
    @staticmethod
    def version():
        return ov.__version__.split("-")[0]

    def __init__(self, path, threads, precision, network):
        self.core = ov.Core()
        model = self.core.read_model(path)
        # OpenVINO computes every output of a model, and the file has more than the logits.
        self.model = ov.Model([model.output("logits")], model.get_parameters(), "logits")
        self.threads = threads
        self.precision = precision

    def prepare(self, images, once):
        batch, height, width, channels = images.shape
        self.model.reshape([batch, channels, height, width])
        self.compiled = self.core.compile_model(self.model, "CPU", self.settings())
        threads = self.compiled.get_property(properties.inference_num_threads)
        if threads != self.threads:
            raise RuntimeError(f"OpenVINO uses {threads} threads here, not the {self.threads} requested.")
        requests = 1 if once else self.requests_in_flight()
        self.requests = [self.compiled.create_infer_request() for _ in range(requests)]
        self.feed(images)

    def feed(self, images):
        for request in self.requests:
            request.get_tensor("x").data[:] = images.transpose(0, 3, 1, 2)

    def settings(self):
        # By itself it would choose bfloat16 for a network in float32 if there is AMX or AVX512_BF16.
        precision = {"fp32": {hint.inference_precision: ov.Type.f32}, "bf16": {hint.inference_precision: ov.Type.bf16}}
        return {
            **precision.get(self.precision, {}),
            hint.performance_mode: self.mode,
            properties.inference_num_threads: self.threads,
            # By default it pins threads to cores, and uses at most as many threads as there are (performance) cores.
            hint.enable_cpu_pinning: False,
            hint.enable_hyper_threading: True,
            hint.scheduling_core_type: hint.SchedulingCoreType.ANY_CORE,
        }

    def run(self):
        for request in self.requests:
            request.start_async()
        for request in self.requests:
            request.wait()
        return [request.get_tensor("logits").data.copy() for request in self.requests]


class OpenVINOLatency(OpenVINO):
    """One batch at a time, by all threads."""

    mode = hint.PerformanceMode.LATENCY

    def requests_in_flight(self):
        return 1


class OpenVINOThroughput(OpenVINO):
    """As many batches at the same time as OpenVINO recommends; each stream of requests has a share of the threads."""

    mode = hint.PerformanceMode.THROUGHPUT

    def requests_in_flight(self):
        return self.compiled.get_property(properties.optimal_number_of_infer_requests)
