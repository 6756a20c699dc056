# TensorFlow: a graph with the weights as constants, channels last.
import tensorflow as tf

from peers.weights import read_safetensors


class TensorFlow:
    @staticmethod
    def version():
        return tf.__version__

    def __init__(self, path, threads, precision, network):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        if any(layer.get("groups", 1) > 1 for layer in network["layers"]):
            # Without oneDNN, TensorFlow fuses grouped convolutions into an operation that then refuses groups.
            tf.config.optimizer.set_experimental_options({"remapping": False})
        weights = read_safetensors(path)

        def forward(x):
            values = {0: x}
            for i, layer in enumerate(network["layers"]):
                if layer["kind"] != "input":
                    values[i] = layer_of(layer, values, weights)
            return values[network["logits"]]

        self.forward = tf.function(forward)

    def prepare(self, images, once):
        self.feed(images)

    def feed(self, images):
        self.x = tf.constant(images)

    def run(self):
        return [self.forward(self.x).numpy()]


def layer_of(layer, values, weights):
    kind = layer["kind"]
    x = values[layer["src"]]
    if kind == "conv":
        kernel = tf.constant(weights[layer["name"] + ".weight"].transpose(2, 3, 1, 0))
        return tf.nn.conv2d(padded(x, layer, 0.0), kernel, layer["stride"], "VALID")
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
        return tf.nn.max_pool2d(padded(x, layer, float("-inf")), layer["kernel"], layer["stride"], "VALID")
    if kind == "localAvgPool":
        return tf.nn.avg_pool2d(x, layer["kernel"], layer["kernel"], "VALID")
    if kind == "globalAvgPool":
        return tf.reduce_mean(x, [1, 2])
    if kind == "linear":
        weight = tf.constant(weights[layer["name"] + ".weight"].T)
        return tf.matmul(x, weight) + weights[layer["name"] + ".bias"]
    raise ValueError("Unknown layer kind " + kind)


def padded(x, layer, value):
    padding = layer["padding"]
    return tf.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]], constant_values=value)
