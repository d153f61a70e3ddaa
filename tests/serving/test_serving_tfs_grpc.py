"""The stubs of tensorflow-serving-api against a real server."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from serving_server import agree, agree_rows, example
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(model, signature, **inputs):
    import tensorflow as tf

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def array(tensor):
    import tensorflow as tf

    return tf.make_ndarray(tensor)


def refused(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code().name, caught.value.details()


def test_predict_with_every_signature(prediction, model, of_model):
    pixels = np.stack([s.pixels for s in of_model])
    for signature, inputs in {
        "": {"examples": [example(s).SerializeToString() for s in of_model]},
        "serving_default": {"examples": [example(s).SerializeToString() for s in of_model]},
        "serving_bytes": {"images": [s.encoded for s in of_model]},
        "serving_tensor": {"images": pixels},
    }.items():
        answer = prediction.Predict(predict_request(model, signature, **inputs), timeout=20)
        assert answer.model_spec.name == model
        assert answer.model_spec.version.value == 1
        assert answer.model_spec.signature_name == (signature or "serving_default")
        agree_rows(of_model, array(answer.outputs["scores"]))
        if signature == "serving_bytes":
            labels, scores = (array(answer.outputs[k]) for k in ("labels", "label_scores"))
            for index, sample in enumerate(of_model):
                agree(sample, [t.decode() for t in labels[index]], scores[index])
        else:
            assert list(answer.outputs) == ["scores"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32])
def test_predict_takes_pixels_of_any_number_type(prediction, model, of_model, dtype):
    sample = of_model[4]
    request = predict_request(model, "serving_tensor", images=sample.pixels[None].astype(dtype))
    agree_rows([sample], array(prediction.Predict(request).outputs["scores"]))


def test_predict_places_and_filters(prediction, model, of_model):
    request = predict_request(model, "serving_bytes", images=[of_model[0].encoded])
    request.output_filter.append("labels")
    request.model_spec.version.value = 1
    assert list(prediction.Predict(request).outputs) == ["labels"]
    request.model_spec.version_label = "stable"
    assert prediction.Predict(request).model_spec.version.value == 1
    request.model_spec.version_label = "none"
    assert refused(prediction.Predict, request)[0] == "NOT_FOUND"
    request.model_spec.version.value = 7
    assert refused(prediction.Predict, request) == (
        "NOT_FOUND",
        f"{model} has no version 7 loaded. Available: 1.",
    )


def test_classify(prediction, model, of_model):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model
    request.input.example_list.examples.extend(example(s) for s in of_model)
    answer = prediction.Classify(request)
    for sample, found in zip(of_model, answer.result.classifications, strict=True):
        agree(sample, [c.label for c in found.classes], [c.score for c in found.classes])


def test_classify_adds_the_context_to_every_example(prediction, model, of_model):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model
    given = request.input.example_list_with_context
    given.context.CopyFrom(example(of_model[2]))
    given.examples.add()
    given.examples.add().features.feature["label"].bytes_list.value.append(b"0")
    answer = prediction.Classify(request)
    tops = [c.classes[0].label for c in answer.result.classifications]
    assert tops == [of_model[2].digit] * 2


def test_metadata(prediction, model):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    answer = prediction.GetModelMetadata(request)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == {"serving_default", "serving_bytes", "serving_tensor"}
    pixels = found.signature_def["serving_tensor"].inputs["images"]
    assert [d.size for d in pixels.tensor_shape.dim] == [-1, 16, 16, 3]


def test_status(channel, model):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    for place in ({}, {"version": {"value": 1}}, {"version_label": "stable"}):
        request.model_spec.CopyFrom(type(request.model_spec)(name=model, **place))
        (status,) = stub.GetModelStatus(request).model_version_status
        assert (status.version, status.state, status.status.error_message) == (1, 30, "")
    request.model_spec.name = "none"
    assert refused(stub.GetModelStatus, request)[0] == "NOT_FOUND"


def test_what_is_not_offered_is_unimplemented(prediction, model):
    request = inference_pb2.MultiInferenceRequest()
    assert refused(prediction.MultiInference, request)[0] == "UNIMPLEMENTED"


def test_a_deadline_that_has_passed_is_told(prediction, model, of_model):
    request = predict_request(model, "serving_bytes", images=[of_model[0].encoded])
    assert refused(prediction.Predict, request, timeout=1e-4)[0] == "DEADLINE_EXCEEDED"
