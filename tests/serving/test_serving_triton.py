"""Triton's clients against a real server: the Open Inference Protocol over HTTP and gRPC.

Every answer is compared with the SavedModel's own for the same image.
"""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from serving_server import MODELS, agree, agree_rows, b64
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TRITON = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(params=TRITON)
def triton(request, server):
    module = TRITON[request.param]
    client = module.InferenceServerClient(server.host if request.param == "http" else server.grpc)
    yield client, module
    client.close()


def infer_input(module, array, **options):
    given = module.InferInput("images", array.shape, np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array, **options)
    return given


def encoded_array(model_samples):
    return np.array([s.encoded for s in model_samples], object)


def agree_triton(model_samples, result):
    agree_rows(model_samples, result.as_numpy("scores"))
    tops = zip(result.as_numpy("labels"), result.as_numpy("label_scores"), strict=True)
    for sample, (labels, scores) in zip(model_samples, tops, strict=True):
        agree(sample, [t if isinstance(t, str) else t.decode() for t in labels], scores)


def test_triton_infers_image_files(triton, model, of_model):
    client, module = triton
    result = client.infer(model, [infer_input(module, encoded_array(of_model))], request_id="r1")
    agree_triton(of_model, result)
    answer = result.get_response()
    if not isinstance(answer, dict):
        answer = {"id": answer.id, "model_version": answer.model_version}
    assert (answer["id"], answer["model_version"]) == ("r1", "1")


def test_triton_infers_pixels_of_a_version(triton, model, of_model):
    client, module = triton
    pixels = infer_input(module, np.stack([s.pixels for s in of_model]))
    agree_triton(of_model, client.infer(model, [pixels], model_version="1"))


def test_triton_http_as_json_packed_and_for_single_outputs(server, model, of_model):
    client = tritonclient.http.InferenceServerClient(server.host)
    pixels = infer_input(
        tritonclient.http, np.stack([s.pixels for s in of_model]), binary_data=False
    )
    outputs = [
        tritonclient.http.InferRequestedOutput(name, binary_data=name == "scores")
        for name in ("label_scores", "labels", "scores")
    ]
    for packing in (None, "gzip", "deflate"):
        result = client.infer(
            model, [pixels], outputs=outputs, request_compression_algorithm=packing
        )
        agree_triton(of_model, result)
        answered = [o["name"] for o in result.get_response()["outputs"]]
        assert answered == ["label_scores", "labels", "scores"]
    client.close()


def test_infer_takes_base64_in_json(rest, model, of_model):
    data = [b64(s.encoded)["b64"] for s in of_model]
    body = {"id": "é", "inputs": [
        {"name": "images", "datatype": "BYTES", "shape": [len(data), 1], "data": data}
    ]}  # fmt: skip
    answer = rest.post(f"/v2/models/{model}/versions/1/infer", json=body).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("é", model, "1")
    outputs = {o["name"]: o for o in answer["outputs"]}
    assert {k: (o["datatype"], o["shape"]) for k, o in outputs.items()} == {
        "scores": ("FP32", [10, 10]),
        "labels": ("BYTES", [10, 5]),
        "label_scores": ("FP32", [10, 5]),
    }
    agree_rows(of_model, np.reshape(outputs["scores"]["data"], (10, 10)))


def test_grpc_infer_takes_typed_contents(server, model, of_model):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        sample = of_model[3]
        request = service_pb2.ModelInferRequest(model_name=model)
        tensor = request.inputs.add(
            name="images", datatype="UINT8", shape=[1, *sample.pixels.shape]
        )
        tensor.contents.uint_contents.extend(sample.pixels.ravel().tolist())
        for _ in range(2):
            answer = stub.ModelInfer(request)
            scores = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(1, 10)
            agree_rows([sample], scores)
            request.inputs[0].CopyFrom(
                service_pb2.ModelInferRequest.InferInputTensor(
                    name="images", datatype="BYTES", shape=[1]
                )
            )
            request.inputs[0].contents.bytes_contents.append(sample.encoded)


def test_triton_reads_health_and_metadata(triton, model):
    client, module = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.is_model_ready(model, "1")
    metadata = client.get_model_metadata(model, **({} if module is TRITON["http"] else AS_JSON))
    assert metadata["name"] == model
    assert metadata["versions"] == ["1"]
    assert [(t["name"], t["datatype"]) for t in metadata["inputs"]] == [("images", "BYTES")]
    assert [t["name"] for t in metadata["outputs"]] == ["scores", "labels", "label_scores"]
    server = client.get_server_metadata(**({} if module is TRITON["http"] else AS_JSON))
    assert server["name"] == "visionline"
    assert "model_repository" in server["extensions"]


AS_JSON = {"as_json": True}


def test_triton_unloads_and_loads(triton):
    client, module = triton
    options = {} if module is TRITON["http"] else AS_JSON

    def ready():
        index = client.get_model_repository_index(**options)
        entries = index if module is TRITON["http"] else index["models"]
        return [e["name"] for e in entries if e["state"] == "READY"]

    assert ready() == list(MODELS)
    client.unload_model("digits-pytorch")
    try:
        assert ready() == ["digits-keras"]
        assert not client.is_model_ready("digits-pytorch")
        assert client.is_model_ready("digits-keras")
    finally:
        client.load_model("digits-pytorch")
    assert ready() == list(MODELS)
    assert client.is_model_ready("digits-pytorch")


def test_triton_is_told_what_is_wrong(triton, model, of_model):
    client, module = triton
    good = infer_input(module, encoded_array(of_model[:1]))
    over_http = module is TRITON["http"]
    missing, invalid = ("404", "400") if over_http else ("NOT_FOUND", "INVALID_ARGUMENT")

    def refused(call, status, text):
        with pytest.raises(InferenceServerException, match=text) as caught:
            call()
        assert status in caught.value.status()

    refused(lambda: client.infer("digits-kera", [good]), missing, "digits-keras")
    refused(lambda: client.infer(model, [good], model_version="7"), missing, "no version 7")
    refused(lambda: client.infer(model, [good], model_version="x"), missing, "numbers")
    refused(lambda: client.get_model_metadata("nothing"), missing, "No model 'nothing'")
    refused(lambda: client.load_model("nothing"), missing, "No model 'nothing'")
    refused(lambda: client.load_model(model, config="{}"), invalid, "serving folder")
    text = infer_input(module, np.array([b"not an image"], object))
    refused(lambda: client.infer(model, [text]), invalid, "Image 0: expected a file of JPEG")
    floats = infer_input(module, np.zeros((1, 16, 16, 3), np.float32))
    refused(lambda: client.infer(model, [floats]), invalid, "got 'FP32'")
    flat = infer_input(module, np.zeros((1, 2), np.uint8))
    refused(lambda: client.infer(model, [flat]), invalid, r"\[N, 16, 16, 3\]")
    outputs = [module.InferRequestedOutput("score")]
    refused(lambda: client.infer(model, [good], outputs=outputs), invalid, "Known: scores")


def test_index_lists_only_ready_models_on_request(rest):
    for body in ({}, {"ready": True}):
        entries = rest.post("/v2/repository/index", json=body).json()
        assert {(e["name"], e["version"], e["state"], e["reason"]) for e in entries} == {
            (name, "1", "READY", "") for name in MODELS
        }
