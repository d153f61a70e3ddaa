"""REST as TensorFlow Serving and KServe have it, image files, and TFX's own client.

On a real server; every answer is compared with the SavedModel's own for the same image.
"""

from __future__ import annotations

import gzip
import json

import pytest
from helpers import python
from serving_server import MODELS, agree, agree_rows, b64, example

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
    page = rest.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "Drop an image" in page.text
    assert "http" not in page.text.replace("http-equiv", "")


# --- TFX's own client


def test_the_client_of_tfx_finds_the_server_good(server, samples, tmp_path):
    paths = []
    for index, sample in enumerate(samples[MODELS[0]][:3]):
        paths.append(tmp_path / str(index))
        paths[-1].write_bytes(example(sample).SerializeToString())
    done = python("-c", TFX_CLIENT, server.grpc, ",".join(MODELS), *map(str, paths))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["loaded", "answered 6", "refused"] * 2


TFX_CLIENT = """
import sys, time
from components import tfx_private
tfx_private.install_pipeline()
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2
from tfx.components.infra_validator import error_types
from tfx.components.infra_validator.model_server_clients.tensorflow_serving_client import (
    TensorFlowServingClient,
)

address, models, *files = sys.argv[1:]
for model in models.split(","):
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
