"""Public clients against a real server: it must not be told from the ones they are made for.

Every answer is compared with the SavedModel's own for the same image.
"""

from __future__ import annotations

import base64
import gzip
import json

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from helpers import python
from serving_server import MODELS
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TRITON = {"http": tritonclient.http, "grpc": tritonclient.grpc}


def agree(sample, labels, scores):
    """The same classes in the same order, and the right one first."""
    assert labels[0] == sample.digit
    assert list(labels) == list(sample.labels)
    np.testing.assert_allclose(scores, sample.scores, atol=1e-4)


def agree_rows(model_samples, scores_NC):
    """The classes have their scores, the right one the highest, in the order of the images."""
    scores_NC = np.asarray(scores_NC)
    assert scores_NC.shape == (len(model_samples), 10)
    for sample, scores in zip(model_samples, scores_NC, strict=True):
        assert sample.labels[0] == sample.digit
        assert scores.argmax() == sample.indices[0]
        np.testing.assert_allclose(scores[list(sample.indices)], sample.scores, atol=1e-4)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def example(sample):
    """A raw example, serialised, as the pipeline's."""
    import tensorflow as tf

    encoded = tf.train.Feature(bytes_list=tf.train.BytesList(value=[sample.encoded]))
    return tf.train.Example(features=tf.train.Features(feature={"image/encoded": encoded}))


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def of_model(samples, model):
    return samples[model]


@pytest.fixture
def rest(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


# --- Open Inference Protocol, by Triton's clients


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
    refused(lambda: client.infer(model, [text]), invalid, "Image 0: expected an encoded JPEG")
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


# --- TensorFlow Serving: REST, which KServe V1 is a part of


@pytest.mark.parametrize("place", ["", "/versions/1", "/labels/stable"])
def test_predict_rows_of_image_files(rest, model, of_model, place):
    rows = [b64(s.encoded) for s in of_model]
    for instances in (rows, [{"images": row} for row in rows]):
        body = {"signature_name": "serving_bytes", "instances": instances}
        answer = rest.post(f"/v1/models/{model}{place}:predict", json=body)
        assert answer.status_code == 200, answer.text
        (predictions,) = answer.json().values()
        for sample, row in zip(of_model, predictions, strict=True):
            agree(sample, row["labels"], row["label_scores"])
        agree_rows(of_model, [row["scores"] for row in predictions])


def test_predict_columns(rest, model, of_model):
    files = [b64(s.encoded) for s in of_model]
    for inputs in (files, {"images": files}):
        outputs = rest.post(f"/v1/models/{model}:predict", json={"inputs": inputs}).json()
        assert list(outputs) == ["outputs"]
        assert set(outputs["outputs"]) == {"scores", "labels", "label_scores"}
        agree_rows(of_model, outputs["outputs"]["scores"])


def test_predict_pixels_and_examples_have_one_output_and_no_name_for_it(rest, model, of_model):
    pixels = [s.pixels.tolist() for s in of_model]
    examples = [b64(example(s).SerializeToString()) for s in of_model]
    for signature, values, key in (
        ("serving_tensor", pixels, "images"),
        ("serving_default", examples, "examples"),
        (None, pixels, "images"),
        (None, examples, "examples"),
    ):
        named = {"signature_name": signature} if signature else {}
        for given in (
            {"instances": values},
            {"instances": [{key: v} for v in values]},
            {"inputs": values},
            {"inputs": {key: values}},
        ):
            answer = rest.post(f"/v1/models/{model}:predict", json={**named, **given}).json()
            assert list(answer) == ["predictions" if "instances" in given else "outputs"]
            (scores,) = answer.values()
            agree_rows(of_model, scores)


def test_predict_takes_gzip_and_any_content_type(rest, model, of_model):
    body = gzip.compress(json.dumps({"instances": [b64(of_model[0].encoded)]}).encode())
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-encoding": "gzip", "content-type": content_type}
        answer = rest.post(f"/v1/models/{model}:predict", content=body, headers=headers)
        assert answer.json()["predictions"][0]["labels"][0] == of_model[0].digit


@pytest.mark.parametrize("place", ["", "/versions/1", "/labels/stable"])
def test_status_is_that_of_tensorflow_serving_and_of_kserve(rest, model, place):
    assert rest.get(f"/v1/models/{model}{place}").json() == {
        "name": model,
        "ready": True,
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ],
    }
    metadata = rest.get(f"/v1/models/{model}{place}/metadata").json()
    assert metadata["model_spec"] == {"name": model, "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_tensor"]["inputs"]["images"] == {
        "dtype": "DT_UINT8",
        "tensor_shape": {
            "dim": [{"size": s, "name": ""} for s in ("-1", "16", "16", "3")],
            "unknown_rank": False,
        },
        "name": "images",
    }
    assert rest.get("/v1/models").json() == {"models": list(MODELS)}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/none", 404),
        ("/v1/models/digits-keras/versions/2", 404),
        ("/v1/models/digits-keras/versions/one", 400),
        ("/v1/models/digits-keras/labels/none", 404),
        ("/v1/models/none/metadata", 404),
        ("/v1/models/digits-keras:classify", 404),
        ("/v1/nothing", 404),
        ("/v2/models/none", 404),
        ("/v2/models/none/ready", 404),
        ("/v2/models/digits-keras/infer", 405),
    ],
)
def test_what_is_not_there_is_told_in_json(rest, path, status):
    answer = rest.get(path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.headers["content-type"] == "application/json"


# --- An image file, as people try things


def test_an_image_file_as_body_and_as_form(rest, model, of_model):
    for sample in of_model:
        at = f"/predict?model={model}"
        for answer in (
            rest.post(at, content=sample.encoded),
            rest.post(f"{at}&label=stable", files={"anything": ("x.png", sample.encoded)}),
            rest.post(f"{at}&version=1", files=[("file", sample.encoded)], data={"a": "b"}),
        ):
            found = answer.json()
            assert (found["model"], found["version"]) == (model, 1)
            labels, scores = zip(*[(c["label"], c["score"]) for c in found["classes"]], strict=True)
            agree(sample, labels, scores)


def test_predict_asks_which_model(rest, of_model):
    answer = rest.post("/predict", content=of_model[0].encoded)
    assert answer.status_code == 400
    assert "digits-keras, digits-pytorch" in answer.json()["error"]


def test_the_page_comes_with_a_policy_that_keeps_it_to_itself(rest):
    page = rest.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "Drop an image" in page.text
    assert "http" not in page.text.replace("http-equiv", "")


# --- TFX's own client


def test_the_client_of_tfx_finds_the_server_good(server, of_model, model, tmp_path):
    paths = []
    for index, sample in enumerate(of_model[:3]):
        paths.append(tmp_path / str(index))
        paths[-1].write_bytes(example(sample).SerializeToString())
    done = python("-c", TFX_CLIENT, server.grpc, model, *map(str, paths))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["loaded", "answered 6", "refused"]


TFX_CLIENT = """
import sys, time
from trainers import lean_imports
lean_imports.install(lean_imports.PIPELINE)
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2
from tfx.components.infra_validator import error_types
from tfx.components.infra_validator.model_server_clients.tensorflow_serving_client import (
    TensorFlowServingClient,
)

address, model, *files = sys.argv[1:]
client = TensorFlowServingClient(address, model)
client.WaitUntilModelLoaded(time.time() + 10, 1)
print("loaded")
requests = []
for file in files:
    serialised = open(file, "rb").read()
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name = model
    classify.input.example_list.examples.add().ParseFromString(serialised)
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = model
    predict.inputs["examples"].CopyFrom(tf.make_tensor_proto([serialised]))
    requests += [classify, predict]
client.SendRequests(requests)
print("answered", len(requests))
requests[1].inputs["examples"].string_val[0] = b"none"
try:
    client.SendRequests(requests[1:2])
except error_types.ValidationFailed:
    print("refused")
"""
