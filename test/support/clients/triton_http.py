"""Triton's client for HTTP, with threads of gevent and with asyncio, against a server whose address is in the manifest."""
import asyncio

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
from common import equal, refused, refused_later, run, same, texts
from tritonclient.utils import InferenceServerException as Refusal


def client_of(m, concurrency=1):
    return http.InferenceServerClient(m.http, concurrency=concurrency)


def input_of(m, name, binary=True, values=None, datatype=None):
    values = m.inputs[name] if values is None else values
    tensor = http.InferInput(name, list(values.shape), datatype or m.datatype(name))
    return tensor.set_data_from_numpy(values, binary_data=binary)


def outputs_of(*names, binary=True):
    return [http.InferRequestedOutput(name, binary_data=binary) for name in names]


def health_and_metadata(m):
    with client_of(m) as client:
        equal([client.is_server_live(), client.is_server_ready()], [True, True], "health")
        ready = [client.is_model_ready(m.model), client.is_model_ready(m.model, "1"), client.is_model_ready("other")]
        equal(ready, [True, True, False], "models that are ready")
        server = client.get_server_metadata()
        equal(server["name"], "residual", "the server's name")
        for extension in ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"):
            assert extension in server["extensions"], extension
        metadata = client.get_model_metadata(m.model)
        equal([tensor["name"] for tensor in metadata["inputs"]], ["pictures", "pixels", "tensor"], "inputs")
        config = client.get_model_config(m.model, "1")
        equal([tensor["optional"] for tensor in config["input"]], [True] * 3, "optional inputs")
        assert config["max_batch_size"] >= 3, config
        refused(lambda: client.get_model_metadata("other"), Refusal, r"^\[404\] Unknown model 'other'", "metadata")
        refused(lambda: client.get_model_config(m.model, "7"), Refusal, r"^\[404\].*, version '7'", "config")


def statistics_and_repository(m):
    with client_of(m) as client:
        count = lambda: client.get_inference_statistics(m.model)["model_stats"][0]["inference_count"]
        before = count()
        client.infer(m.model, [input_of(m, "pixels")])
        equal(count() - before, 3, "images that were counted")
        equal(client.get_inference_statistics()["model_stats"][0]["name"], m.model, "statistics of all models")
        index = client.get_model_repository_index()
        equal([(model["name"], model["state"]) for model in index], [(m.model, "READY")], "index")
        client.load_model(m.model)
        equal(client.is_model_ready(m.model), True, "loaded anew")
        refused(lambda: client.load_model(m.model, config="{}"), Refusal, "'config' is not supported", "load with config")
        files = {"file:1/model.onnx": b"x"}
        load = lambda: client.load_model(m.model, config="{}", files=files)
        refused(load, Refusal, "'(config|file:1/model.onnx)' is not supported", "load with files")
        refused(lambda: client.unload_model(m.model), Refusal, "cannot be unloaded", "unload")
        refused(client.get_trace_settings, Refusal, r"^\[404\]", "tracing")
        refused(client.get_log_settings, Refusal, r"^\[404\]", "log settings")
        refused(client.get_system_shared_memory_status, Refusal, r"^\[404\]", "shared memory")
        register = lambda: client.register_system_shared_memory("region", "/key", 64)
        refused(register, Refusal, r"^\[404\]", "a region of shared memory")


def every_encoding(m):
    """Each input in binary and in JSON, each output in binary and in JSON."""
    with client_of(m) as client:
        for name, outputs in m.expected.items():
            for binary_input in (True, False):
                # A JSON string cannot hold any bytes: images travel in base64 there.
                values = m.base64 if name == "pictures" and not binary_input else None
                for binary_output in (True, False):
                    tensor = input_of(m, name, binary_input, values)
                    result = client.infer(m.model, [tensor], outputs=outputs_of(*outputs, binary=binary_output))
                    for output, expected in outputs.items():
                        what = f"{output} of {name}, binary {binary_input} and {binary_output}"
                        same(result.as_numpy(output), expected, what)


def every_datatype(m):
    """Of each input every datatype but its own is refused, in binary and in JSON."""
    with client_of(m) as client:
        for name in m.inputs:
            for datatype, values in m.others(name):
                for binary in (True, False):
                    if name != "pictures" or binary:
                        tensor = input_of(m, name, binary, values, datatype)
                        pattern = rf"^\[400\] The datatype of the input '{name}' must be {m.datatype(name)}, not {datatype}\."
                        refused(lambda: client.infer(m.model, [tensor]), Refusal, pattern, f"{datatype} for {name}")
            import ml_dtypes

            values = np.ones(m.inputs[name].shape, ml_dtypes.bfloat16)
            tensor = input_of(m, name, True, values, "BF16")
            refused(lambda: client.infer(m.model, [tensor]), Refusal, ", not BF16", f"BF16 for {name}")


def outputs(m):
    """Those that were asked for come back, each as it was asked for, or all."""
    with client_of(m) as client:
        tensor = input_of(m, "pixels")
        result = client.infer(m.model, [tensor])
        for name, expected in m.expected["pixels"].items():
            same(result.as_numpy(name), expected, f"{name}, not asked for")
        mixed = [
            http.InferRequestedOutput("probabilities", binary_data=False),
            http.InferRequestedOutput("logits", binary_data=True),
        ]
        result = client.infer(m.model, [tensor], outputs=mixed)
        equal([each["name"] for each in result.get_response()["outputs"]], ["probabilities", "logits"], "outputs")
        for name in ("probabilities", "logits"):
            same(result.as_numpy(name), m.expected["pixels"][name], f"{name} of both encodings")
        equal(result.as_numpy("features"), None, "an output that was not asked for")
        ask = lambda name: lambda: client.infer(m.model, [tensor], outputs=outputs_of(name))
        refused(ask("scores"), Refusal, "no output 'scores'; it has logits, probabilities, features", "another output")
        for binary in (True, False):
            asked = [http.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)]
            result = client.infer(m.model, [input_of(m, "pictures")], outputs=asked)
            equal(texts(result.as_numpy("probabilities")), m.classes, f"classes, binary {binary}")


def compression(m):
    with client_of(m) as client:
        packings = []
        post = client._post
        client._post = lambda *given, **named: packings.append(answer := post(*given, **named)) or answer
        for sent in (None, "gzip", "deflate"):
            for wanted in (None, "gzip", "deflate"):
                result = client.infer(
                    m.model,
                    [input_of(m, "tensor")],
                    request_compression_algorithm=sent,
                    response_compression_algorithm=wanted,
                )
                equal(packings[-1].get("content-encoding"), wanted, "the answer's packing")
                same(result.as_numpy("features"), m.expected["tensor"]["features"], f"{sent} and {wanted}")


def parameters(m):
    with client_of(m) as client:
        tensor = input_of(m, "pixels")
        own = {"mine": "kept", "number": 3, "flag": True}
        given = dict(priority=2, timeout=20_000_000, sequence_id=7, sequence_start=True, sequence_end=True)
        headers = {"X-Mine": "1"}
        result = client.infer(m.model, [tensor], "1", None, "my-id", parameters=own, headers=headers, **given)
        response = result.get_response()
        equal([response["id"], response["model_name"], response["model_version"]], ["my-id", m.model, "1"], "names")
        equal({name: response["parameters"][name] for name in own}, own, "parameters")
        same(result.as_numpy("logits"), m.expected["pixels"]["logits"], "logits")
        refused(lambda: client.infer(m.model, [tensor], timeout=1), Refusal, r"^\[504\].*DEADLINE_EXCEEDED", "timeout")
        refused(lambda: client.infer("other", [tensor]), Refusal, r"^\[404\].*MODEL_NOT_SERVED", "another model")
        refused(lambda: client.infer(m.model, [tensor, tensor]), Refusal, r"^\[400\].* 2 inputs", "two inputs")
        shorter = input_of(m, "pixels", values=m.inputs["pixels"][:, 1:])
        refused(lambda: client.infer(m.model, [shorter]), Refusal, r"must be \[N,64,64,3\]", "another shape")


def shared_memory(m):
    with client_of(m) as client:
        tensor = http.InferInput("pixels", [3, 64, 64, 3], "UINT8").set_shared_memory("region", 3 * 64 * 64 * 3)
        pattern = "'shared_memory_region' of the input 'pixels' is not supported"
        refused(lambda: client.infer(m.model, [tensor]), Refusal, pattern, "an input in shared memory")
        output = http.InferRequestedOutput("logits")
        output.set_shared_memory("region", 120)
        ask = lambda: client.infer(m.model, [input_of(m, "pixels")], outputs=[output])
        refused(ask, Refusal, "of the output 'logits' is not supported", "an output in shared memory")


def many_at_once(m):
    with client_of(m, concurrency=4) as client:
        names = list(m.expected) * 4
        asked = [client.async_infer(m.model, [input_of(m, name)], request_id=str(i)) for i, name in enumerate(names)]
        wrong = client.async_infer("other", [input_of(m, "pixels")])
        for i, (name, answer) in enumerate(zip(names, asked)):
            result = answer.get_result()
            equal(result.get_response()["id"], str(i), "the id of an answer")
            same(result.as_numpy("logits"), m.expected[name]["logits"], f"{name}, many at once")
        refused(wrong.get_result, Refusal, "MODEL_NOT_SERVED", "another model, many at once")


def with_asyncio(m):
    async def check():
        async with aio.InferenceServerClient(m.http) as client:
            equal([await client.is_server_ready(), await client.is_model_ready(m.model)], [True, True], "health")
            equal((await client.get_model_config(m.model))["name"], m.model, "config")
            equal((await client.get_inference_statistics(m.model))["model_stats"][0]["version"], "1", "statistics")
            names = list(m.expected) * 3
            packings = dict(request_compression_algorithm="gzip", response_compression_algorithm="deflate")
            results = await asyncio.gather(*(client.infer(m.model, [input_of(m, n)], **packings) for n in names))
            for name, result in zip(names, results):
                for output, expected in m.expected[name].items():
                    same(result.as_numpy(output), expected, f"{output} of {name} with asyncio")
            wrong = client.infer(m.model, [input_of(m, "pixels", values=np.ones((1, 2), np.uint8))])
            await refused_later(wrong, Refusal, r"must be \[N,64,64,3\]", "another shape with asyncio")

    asyncio.run(check())


def image_classification(m):
    """As a client does it that knows nothing of a model but its metadata and configuration, which list one input and one output."""
    with client_of(m) as client:
        for input_name, layout in (("pixels", "FORMAT_NHWC"), ("tensor", "FORMAT_NCHW")):
            name = f"{m.model}:{input_name}"
            metadata, config = client.get_model_metadata(name), client.get_model_config(name)
            (tensor,), (output,), (configured,) = metadata["inputs"], metadata["outputs"], config["input"]
            equal([configured["format"], configured["optional"]], [layout, False], "the input's configuration")
            equal(tensor["shape"], [-1, *configured["dims"]], "the input's shape")
            equal([output["datatype"], len(output["shape"]), config["max_batch_size"] > 2], ["FP32", 2, True], "output")
            asked = [http.InferRequestedOutput(output["name"], class_count=3)]
            result = client.infer(name, [input_of(m, input_name)], outputs=asked)
            found = texts(result.as_numpy(output["name"]))
            equal([len(row) for row in found], [3, 3, 3], "classes of each image")
            for row, probabilities in zip(found, m.expected[input_name]["probabilities"]):
                for text, index in zip(row, np.argsort(-probabilities, kind="stable")):
                    value, at, label = text.split(":")
                    equal([int(at), label], [index, m.labels[index]], "class")
                    same(np.float32(value), probabilities[index], "its probability")


run(
    health_and_metadata,
    statistics_and_repository,
    every_encoding,
    every_datatype,
    outputs,
    compression,
    parameters,
    shared_memory,
    many_at_once,
    with_asyncio,
    image_classification,
)
