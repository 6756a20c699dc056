"""Triton's client for gRPC, with threads and with asyncio, against a server whose address is in the manifest."""
import asyncio
import queue

import grpc as grpcio
import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as aio
from common import equal, matches, refused, refused_later, run, same, texts
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException as Refusal


def client_of(m):
    return grpc.InferenceServerClient(m.grpc)


def input_of(m, name, values=None, datatype=None):
    values = m.inputs[name] if values is None else values
    return grpc.InferInput(name, list(values.shape), datatype or m.datatype(name)).set_data_from_numpy(values)


def outputs_of(*names):
    return [grpc.InferRequestedOutput(name) for name in names]


def health_and_metadata(m):
    with client_of(m) as client:
        equal([client.is_server_live(), client.is_server_ready()], [True, True], "health")
        equal([client.is_model_ready(m.model), client.is_model_ready(m.model, "1")], [True, True], "models")
        refused(lambda: client.is_model_ready("other"), Refusal, "NOT_FOUND.*MODEL_NOT_SERVED", "another model")
        equal(client.get_server_metadata().name, "residual", "the server's name")
        metadata = client.get_model_metadata(m.model)
        equal([tensor.name for tensor in metadata.inputs], ["pictures", "pixels", "tensor"], "inputs")
        config = client.get_model_config(m.model).config
        equal([tensor.optional for tensor in config.input], [True] * 3, "optional inputs")
        equal(config.input[1].data_type, model_config_pb2.TYPE_UINT8, "datatype")
        equal([list(config.input[1].dims), config.max_batch_size >= 3], [[64, 64, 3], True], "shape")
        refused(lambda: client.get_model_metadata("other"), Refusal, "NOT_FOUND.*Unknown model 'other'", "metadata")
        refused(lambda: client.get_model_config("other"), Refusal, "NOT_FOUND.*Unknown model 'other'", "config")
    with grpcio.insecure_channel(m.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        equal(check(b""), b"\x08\x01", "gRPC's own health check")  # status: SERVING


def statistics_and_repository(m):
    with client_of(m) as client:
        count = lambda: client.get_inference_statistics(m.model).model_stats[0].inference_count
        before = count()
        client.infer(m.model, [input_of(m, "pixels")])
        equal(count() - before, 3, "images that were counted")
        equal(client.get_inference_statistics().model_stats[0].name, m.model, "statistics of all models")
        index = client.get_model_repository_index()
        equal([(model.name, model.state) for model in index.models], [(m.model, "READY")], "index")
        client.load_model(m.model)
        equal(client.is_model_ready(m.model), True, "loaded anew")
        refused(lambda: client.load_model(m.model, config="{}"), Refusal, "'config' is not supported", "load with config")
        refused(lambda: client.unload_model(m.model), Refusal, "cannot be unloaded", "unload")
        for call in (client.get_trace_settings, client.get_log_settings, client.get_system_shared_memory_status):
            refused(call, Refusal, "UNIMPLEMENTED", call.__name__)


def every_input(m):
    with client_of(m) as client:
        for name, outputs in m.expected.items():
            result = client.infer(m.model, [input_of(m, name)], outputs=outputs_of(*outputs))
            for output, expected in outputs.items():
                same(result.as_numpy(output), expected, f"{output} of {name}")


def typed_contents(m):
    """Numbers as messages have them, instead of raw bytes; the answer is written likewise."""
    contents = {
        "pixels": dict(uint_contents=m.inputs["pixels"].flatten().tolist()),
        "tensor": dict(fp32_contents=m.inputs["tensor"].flatten().tolist()),
        "pictures": dict(bytes_contents=m.inputs["pictures"].tolist()),
    }
    with grpcio.insecure_channel(m.grpc) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        for name, outputs in m.expected.items():
            request = service_pb2.ModelInferRequest(model_name=m.model, id="typed")
            tensor = request.inputs.add(name=name, datatype=m.datatype(name), shape=m.inputs[name].shape)
            tensor.contents.MergeFrom(service_pb2.InferTensorContents(**contents[name]))
            response = infer(request)
            equal([response.id, len(response.raw_output_contents)], ["typed", 0], "a typed answer")
            for output in response.outputs:
                values = np.array(output.contents.fp32_contents, np.float32).reshape(output.shape)
                same(values, outputs[output.name], f"{output.name} of {name}, typed")


def every_datatype(m):
    import ml_dtypes

    with client_of(m) as client:
        for name in m.inputs:
            others = [*m.others(name), ("BF16", np.ones(m.inputs[name].shape, ml_dtypes.bfloat16))]
            for datatype, values in others:
                tensor = input_of(m, name, values, datatype)
                pattern = f"INVALID_ARGUMENT.*The datatype of the input '{name}' must be {m.datatype(name)}, not {datatype}"
                refused(lambda: client.infer(m.model, [tensor]), Refusal, pattern, f"{datatype} for {name}")


def outputs(m):
    with client_of(m) as client:
        tensor = input_of(m, "pixels")
        result = client.infer(m.model, [tensor])
        for name, expected in m.expected["pixels"].items():
            same(result.as_numpy(name), expected, f"{name}, not asked for")
        result = client.infer(m.model, [tensor], outputs=outputs_of("features", "logits"))
        equal([output.name for output in result.get_response().outputs], ["features", "logits"], "outputs")
        equal(result.as_numpy("probabilities"), None, "an output that was not asked for")
        ask = lambda: client.infer(m.model, [tensor], outputs=outputs_of("scores"))
        refused(ask, Refusal, "no output 'scores'; it has logits, probabilities, features", "another output")
        asked = [grpc.InferRequestedOutput("probabilities", class_count=3)]
        result = client.infer(m.model, [input_of(m, "pictures")], outputs=asked)
        equal(texts(result.as_numpy("probabilities")), m.classes, "classes")


def compression(m):
    with client_of(m) as client:
        for algorithm in ("gzip", "deflate"):
            result = client.infer(m.model, [input_of(m, "tensor")], compression_algorithm=algorithm)
            same(result.as_numpy("features"), m.expected["tensor"]["features"], algorithm)


def parameters(m):
    with client_of(m) as client:
        tensor = input_of(m, "pixels")
        own = {"mine": "kept", "number": 3, "flag": True}
        given = dict(priority=2, timeout=20_000_000, sequence_id=7, sequence_start=True, sequence_end=True)
        given |= dict(client_timeout=20, headers={"x-mine": "1"})
        result = client.infer(m.model, [tensor], "1", None, "my-id", parameters=own, **given)
        response = result.get_response()
        equal([response.id, response.model_name, response.model_version], ["my-id", m.model, "1"], "names")
        echoed = response.parameters
        kept = [echoed["mine"].string_param, echoed["number"].int64_param, echoed["flag"].bool_param]
        equal(kept, list(own.values()), "parameters")
        same(result.as_numpy("logits"), m.expected["pixels"]["logits"], "logits")
        late = "DEADLINE_EXCEEDED"
        refused(lambda: client.infer(m.model, [tensor], timeout=1), Refusal, late, "a timeout of the request")
        refused(lambda: client.infer(m.model, [tensor], client_timeout=1e-4), Refusal, "Deadline Exceeded", "of the call")
        refused(lambda: client.infer("other", [tensor]), Refusal, "NOT_FOUND.*MODEL_NOT_SERVED", "another model")
        refused(lambda: client.infer(m.model, [tensor, tensor]), Refusal, "2 inputs", "two inputs")
        shorter = input_of(m, "pixels", m.inputs["pixels"][:, 1:])
        refused(lambda: client.infer(m.model, [shorter]), Refusal, r"must be \[N,64,64,3\]", "another shape")


def shared_memory(m):
    with client_of(m) as client:
        tensor = grpc.InferInput("pixels", [3, 64, 64, 3], "UINT8")
        tensor.set_shared_memory("region", 3 * 64 * 64 * 3)
        pattern = "'shared_memory_[a-z_]+' of the input 'pixels' is not supported"
        refused(lambda: client.infer(m.model, [tensor]), Refusal, pattern, "an input in shared memory")
        output = grpc.InferRequestedOutput("logits")
        output.set_shared_memory("region", 120)
        ask = lambda: client.infer(m.model, [input_of(m, "pixels")], outputs=[output])
        refused(ask, Refusal, "of the output 'logits' is not supported", "an output in shared memory")


def many_at_once(m):
    answers = queue.Queue()
    with client_of(m) as client:
        names = list(m.expected) * 4
        for i, name in enumerate(names):
            callback = lambda result, error: answers.put((result, error))
            client.async_infer(m.model, [input_of(m, name)], callback, request_id=str(i))
        for _ in names:
            result, error = answers.get(timeout=60)
            equal(error, None, "an error, many at once")
            name = names[int(result.get_response().id)]
            same(result.as_numpy("logits"), m.expected[name]["logits"], f"{name}, many at once")
        client.async_infer("other", [input_of(m, "pixels")], callback)
        result, error = answers.get(timeout=60)
        matches(error, "MODEL_NOT_SERVED", "another model")


def with_asyncio(m):
    async def check():
        async with aio.InferenceServerClient(m.grpc) as client:
            equal([await client.is_server_ready(), await client.is_model_ready(m.model)], [True, True], "health")
            equal((await client.get_model_config(m.model)).config.name, m.model, "config")
            names = list(m.expected) * 3
            asked = (client.infer(m.model, [input_of(m, name)], compression_algorithm="gzip") for name in names)
            for name, result in zip(names, await asyncio.gather(*asked)):
                for output, expected in m.expected[name].items():
                    same(result.as_numpy(output), expected, f"{output} of {name} with asyncio")
            wrong = client.infer(m.model, [input_of(m, "pixels", np.ones((1, 2), np.uint8))])
            await refused_later(wrong, Refusal, r"must be \[N,64,64,3\]", "another shape with asyncio")

    asyncio.run(check())


def image_classification(m):
    """As a client does it that knows nothing of a model but its metadata and configuration, which list one input and one output."""
    layouts = (("pixels", model_config_pb2.ModelInput.FORMAT_NHWC), ("tensor", model_config_pb2.ModelInput.FORMAT_NCHW))
    with client_of(m) as client:
        for input_name, layout in layouts:
            name = f"{m.model}:{input_name}"
            metadata, config = client.get_model_metadata(name), client.get_model_config(name).config
            (tensor,), (output,), (configured,) = metadata.inputs, metadata.outputs, config.input
            equal([configured.format, configured.optional], [layout, False], "the input's configuration")
            equal(list(tensor.shape), [-1, *configured.dims], "the input's shape")
            asked = [grpc.InferRequestedOutput(output.name, class_count=3)]
            result = client.infer(name, [input_of(m, input_name)], outputs=asked)
            for row, probabilities in zip(texts(result.as_numpy(output.name)), m.expected[input_name]["probabilities"]):
                equal(len(row), 3, "classes of an image")
                for text, index in zip(row, np.argsort(-probabilities, kind="stable")):
                    value, at, label = text.split(":")
                    equal([int(at), label], [index, m.labels[index]], "class")
                    same(np.float32(value), probabilities[index], "its probability")


def stream(m):
    """Answers come in the order of the requests; one that is refused is an error of its own."""
    answers = queue.Queue()
    with client_of(m) as client:
        for algorithm in (None, "gzip"):
            client.start_stream(lambda result, error: answers.put((result, error)), compression_algorithm=algorithm)
            names = list(m.expected) * 8
            for i, name in enumerate(names):
                client.async_stream_infer(m.model, [input_of(m, name)], request_id=str(i))
            client.async_stream_infer("other", [input_of(m, "pixels")], request_id="wrong")
            client.async_stream_infer(m.model, [input_of(m, "pixels")], request_id="last")
            client.stop_stream()  # once all has been answered
            for i, name in enumerate(names):
                result, error = answers.get_nowait()
                equal([error, result and result.get_response().id], [None, str(i)], "an answer of a stream")
                for output, expected in m.expected[name].items():
                    same(result.as_numpy(output), expected, f"{output} of {name} in a stream")
            result, error = answers.get_nowait()
            matches(error, "Unknown model 'other'.*MODEL_NOT_SERVED", "another model in a stream")
            result, error = answers.get_nowait()
            same(result.as_numpy("logits"), m.expected["pixels"]["logits"], "what follows an error in a stream")
            equal(answers.empty(), True, "that there are no more answers")

    async def check():
        async def requests():
            for name in m.expected:
                yield dict(model_name=m.model, inputs=[input_of(m, name)])

        async with aio.InferenceServerClient(m.grpc) as client:
            names = iter(m.expected)
            async for result, error in client.stream_infer(requests()):
                equal(error, None, "an error of a stream with asyncio")
                name = next(names)
                same(result.as_numpy("logits"), m.expected[name]["logits"], f"{name} in a stream with asyncio")
            equal(list(names), [], "inputs without an answer")

    asyncio.run(check())


run(
    health_and_metadata,
    statistics_and_repository,
    every_input,
    typed_contents,
    every_datatype,
    outputs,
    compression,
    parameters,
    shared_memory,
    many_at_once,
    with_asyncio,
    image_classification,
    stream,
)
