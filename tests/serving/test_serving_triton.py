"""Triton's clients against a real server: the Open Inference Protocol over HTTP and gRPC.

Every answer is compared with the SavedModel's own for the same image.
"""

from __future__ import annotations

import json

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


def test_triton_reads_the_class_names(rest, triton, model, demo):
    client, module = triton
    names = json.loads((demo.serving / model / "1" / "model.json").read_text())["class_names"]
    config = client.get_model_config(model, **({} if module is TRITON["http"] else AS_JSON))
    config = config.get("config", config)
    assert json.loads(config["parameters"]["class_names"]["string_value"]) == names
    assert config.get("max_batch_size", 0) == 0
    assert [i["data_type"] for i in config["input"]] == ["TYPE_STRING"]
    assert rest.get(f"/v2/models/{model}").json()["parameters"] == {"class_names": names}
    assert "classification" in rest.get("/v2").json()["extensions"]


@pytest.mark.parametrize("count", [1, 3, 10, 99])
def test_triton_asks_for_classes(triton, model, of_model, count):
    client, module = triton
    wanted = module.InferRequestedOutput("scores", class_count=count)
    for given in (encoded_array(of_model), np.stack([s.pixels for s in of_model])):
        result = client.infer(model, [infer_input(module, given)], outputs=[wanted])
        rows = result.as_numpy("scores")
        assert rows.shape == (10, min(count, 10))
        for sample, row in zip(of_model, rows, strict=True):
            texts = [t if isinstance(t, str) else t.decode() for t in row]
            scores, indices, labels = zip(*[t.split(":") for t in texts], strict=True)
            k = min(count, len(sample.labels))
            assert labels[:k] == sample.labels[:k]
            assert [int(i) for i in indices[:k]] == list(sample.indices[:k])
            np.testing.assert_allclose([float(s) for s in scores[:k]], sample.scores[:k], atol=1e-4)


def test_classes_that_cannot_be_had_are_refused(rest, triton, model, of_model):
    client, module = triton
    good = infer_input(module, encoded_array(of_model[:1]))
    outputs = [module.InferRequestedOutput("labels", class_count=2)]
    with pytest.raises(InferenceServerException, match="for the output 'scores' alone"):
        client.infer(model, [good], outputs=outputs)
    for count in (-1, 1.5, True, False, "3", [3]):
        body = json_body(of_model[0])
        body["outputs"] = [{"name": "scores", "parameters": {"classification": count}}]
        answer = rest.post(f"/v2/models/{model}/infer", json=body)
        assert answer.status_code == 400 and "classification" in answer.json()["error"]


def json_body(sample):
    data = [b64(sample.encoded)["b64"]]
    return {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": data}]}


def test_the_request_says_which_outputs_are_binary_unless_they_do(rest, model, of_model):
    url = f"/v2/models/{model}/infer"
    for whole, single, expected in (
        (None, None, set()),
        (True, None, {"scores", "labels"}),
        (True, False, {"labels"}),
        (False, True, {"scores"}),
        (None, True, {"scores"}),
    ):
        body = json_body(of_model[0])
        scores = {} if single is None else {"parameters": {"binary_data": single}}
        body["outputs"] = [{"name": "scores", **scores}, {"name": "labels"}]
        if whole is not None:
            body["parameters"] = {"binary_data_output": whole}
        answer = rest.post(url, json=body)
        length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
        outputs = json.loads(answer.content[:length])["outputs"]
        assert {o["name"] for o in outputs if "data" not in o} == expected
        if "scores" in expected:
            row = np.frombuffer(answer.content[length : length + 40], np.float32)
            agree_rows(of_model[:1], row[None])
    for flags in ({"parameters": {"binary_data_output": "true"}},
                  {"outputs": [{"name": "scores", "parameters": {"binary_data": 1}}]}):  # fmt: skip
        answer = rest.post(url, json=json_body(of_model[0]) | flags)
        assert answer.status_code == 400 and "true or false" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"inference-header-content-length": "0"},
        {"inference-header-content-length": "0", "content-type": "application/json"},
        {"content-type": "application/octet-stream"},
        {"content-type": "image/png"},
    ],
)
def test_an_image_file_is_a_request_by_itself(rest, model, of_model, headers):
    sample = of_model[6]
    answer = rest.post(f"/v2/models/{model}/infer", content=sample.encoded, headers=headers)
    assert answer.status_code == 200, answer.text
    outputs = {o["name"]: o["data"] for o in answer.json()["outputs"]}
    agree(sample, outputs["labels"], outputs["label_scores"])


def test_data_that_are_there_twice_or_left_over_are_refused(server, rest, model, of_model):
    sample = of_model[0]
    body = json_body(sample)
    head = {**body["inputs"][0], "parameters": {"binary_data_size": 8}}
    text = json.dumps({"inputs": [head]}).encode()
    headers = {"inference-header-content-length": str(len(text))}
    answer = rest.post(f"/v2/models/{model}/infer", content=text + bytes(8), headers=headers)
    assert answer.status_code == 400 and "got both" in answer.json()["error"]
    text = json.dumps(body).encode()
    headers = {"inference-header-content-length": str(len(text))}
    answer = rest.post(f"/v2/models/{model}/infer", content=text + bytes(8), headers=headers)
    assert answer.status_code == 400 and "8 bytes more" in answer.json()["error"]
    with grpc.insecure_channel(server.grpc) as channel:
        request = service_pb2.ModelInferRequest(model_name=model)
        request.inputs.add(name="images", datatype="BYTES", shape=[1])
        request.inputs[0].contents.bytes_contents.append(sample.encoded)
        request.raw_input_contents.append(b"\x01\0\0\0x")
        with pytest.raises(grpc.RpcError, match="got both"):
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)


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
