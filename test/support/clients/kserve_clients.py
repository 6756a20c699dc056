"""KServe's clients, which are asynchronous, against a server whose address is in the manifest."""
import asyncio
import logging

import grpc
import httpx
import numpy as np
from common import equal, refused_later, run, same, texts
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import RequestedOutput

logging.disable(logging.CRITICAL)  # what is refused on purpose is logged as an error


def rest(protocol="v2"):
    return InferenceRESTClient(RESTConfig(protocol=protocol, retries=0))


def request_of(m, name, binary=True, values=None, datatype=None, **given):
    values = m.inputs[name] if values is None else values
    tensor = InferInput(name, list(values.shape), datatype or m.datatype(name))
    tensor.set_data_from_numpy(values, binary_data=binary)
    return InferRequest(m.model, [tensor], **given)


def output_of(response, name):
    return next(output for output in response.outputs if output.name == name)


def numbers(response, name):
    return output_of(response, name).as_numpy()


def rest_health(m):
    async def check():
        async with rest() as client:
            url = f"http://{m.http}"
            equal([await client.is_server_live(url), await client.is_server_ready(url)], [True, True], "health")
            ready = [await client.is_model_ready(url, name) for name in (m.model, "other")]
            equal(ready, [True, False], "models that are ready")
        async with httpx.AsyncClient(base_url=url) as plain:
            equal((await plain.get("/v2/models")).json(), {"models": [m.model]}, "the list of models")

    asyncio.run(check())


def rest_inference(m):
    async def check():
        async with rest() as client:
            url = f"http://{m.http}"
            for name, outputs in m.expected.items():
                for binary in (True, False):
                    values = m.base64 if name == "pictures" and not binary else None
                    for parameters in ({"binary_data_output": True}, {"binary_data_output": False}):
                        request = request_of(m, name, binary, values, request_id="my-id", parameters=parameters)
                        response = await client.infer(url, request, model_name=m.model)
                        equal([response.id, response.model_name], ["my-id", m.model], "names")
                        for output, expected in outputs.items():
                            what = f"{output} of {name}, binary {binary}, {parameters}"
                            same(numbers(response, output), expected, what)
            asked = [RequestedOutput("logits", {"binary_data": True}), RequestedOutput("probabilities", {"classification": 3})]
            response = await client.infer(url, request_of(m, "pictures", request_outputs=asked), model_name=m.model)
            same(numbers(response, "logits"), m.expected["pictures"]["logits"], "logits that were asked for")
            equal([output.name for output in response.outputs], ["logits", "probabilities"], "outputs")
            equal(texts(output_of(response, "probabilities").as_numpy()), m.classes, "classes")
            plain = {"name": "pixels", "datatype": "UINT8", "shape": [3, 64, 64, 3], "data": m.inputs["pixels"].tolist()}
            response = await client.infer(url, {"inputs": [plain]}, model_name=m.model)
            same(numbers(response, "logits"), m.expected["pixels"]["logits"], "logits of a plain object")

    asyncio.run(check())


def rest_refusals(m):
    async def check():
        url = f"http://{m.http}"
        error = httpx.HTTPStatusError
        async with rest() as client:
            for datatype, values in m.others("tensor"):
                request = request_of(m, "tensor", True, values, datatype)
                pattern = f"^The datatype of the input 'tensor' must be FP32, not {datatype}.*'400 Bad Request'"
                await refused_later(client.infer(url, request, model_name=m.model), error, pattern, datatype)
            other = client.infer(url, request_of(m, "pixels"), model_name="other")
            await refused_later(other, error, "^Unknown model 'other'.*'404 Not Found'", "another model")
        async with rest("v1") as client:
            call = client.infer(url, {"instances": []}, model_name=m.model)
            await refused_later(call, error, "^The server has nothing at POST /v1/.*'404 Not Found'", "the older protocol")

    asyncio.run(check())


def grpc_health(m):
    async def check():
        async with InferenceGRPCClient(m.grpc, retries=0) as client:
            equal([await client.is_server_live(), await client.is_server_ready()], [True, True], "health")
            equal(await client.is_model_ready(m.model), True, "a model that is ready")
            await refused_later(client.is_model_ready("other"), grpc.RpcError, "NOT_FOUND", "another model")
        async with grpc.aio.insecure_channel(m.grpc) as channel:
            stub = GRPCInferenceServiceStub(channel)
            equal((await stub.ServerMetadata(messages.ServerMetadataRequest())).name, "residual", "the server's name")
            metadata = await stub.ModelMetadata(messages.ModelMetadataRequest(name=m.model))
            equal([tensor.name for tensor in metadata.inputs], ["pictures", "pixels", "tensor"], "inputs")
            loaded = await stub.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name=m.model))
            equal([loaded.model_name, loaded.isLoaded], [m.model, True], "loaded anew")
            unload = stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name=m.model))
            await refused_later(unload, grpc.RpcError, "cannot be unloaded", "unload")

    asyncio.run(check())


def grpc_inference(m):
    async def check():
        async with InferenceGRPCClient(m.grpc, retries=0) as client:
            for name, outputs in m.expected.items():
                requests = [request_of(m, name, request_id="my-id", parameters={"mine": "kept"})]
                typed = InferInput(name, list(m.inputs[name].shape), m.datatype(name), m.inputs[name].flatten().tolist())
                requests.append(InferRequest(m.model, [typed], request_id="my-id", parameters={"mine": "kept"}))
                for kind, request in zip(("raw", "typed"), requests):
                    response = await client.infer(request)
                    equal([response.id, response.parameters["mine"].string_param], ["my-id", "kept"], "names")
                    for output, expected in outputs.items():
                        same(numbers(response, output), expected, f"{output} of {name}, {kind}")
            asked = [RequestedOutput("probabilities", {"classification": 3})]
            response = await client.infer(request_of(m, "pictures", request_outputs=asked))
            equal(texts(output_of(response, "probabilities").as_numpy()), m.classes, "classes")
            many = await asyncio.gather(*(client.infer(request_of(m, "pixels")) for _ in range(12)))
            for response in many:
                same(numbers(response, "logits"), m.expected["pixels"]["logits"], "logits, many at once")

    asyncio.run(check())


def grpc_refusals(m):
    async def check():
        async with InferenceGRPCClient(m.grpc, retries=0) as client:
            for name in m.inputs:
                for datatype, values in m.others(name):
                    request = request_of(m, name, True, values, datatype)
                    pattern = f"The datatype of the input '{name}' must be {m.datatype(name)}, not {datatype}"
                    await refused_later(client.infer(request), grpc.RpcError, pattern, f"{datatype} for {name}")
            request = InferRequest("other", request_of(m, "pixels").inputs)
            await refused_later(client.infer(request), grpc.RpcError, "MODEL_NOT_SERVED", "another model")

    asyncio.run(check())


run(rest_health, rest_inference, rest_refusals, grpc_health, grpc_inference, grpc_refusals)
