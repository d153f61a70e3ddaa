"""The stubs of tensorflow-serving-api against a real server."""

from __future__ import annotations

import json

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


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_pixels_that_repeat_may_be_left_out(prediction, model, dtype):
    """As TensorFlow writes and reads a tensor whose last values are the same."""
    import tensorflow as tf

    pixels = np.full((3, 16, 16, 3), 200, dtype)
    pixels[0, :2] = np.arange(96).reshape(2, 16, 3)
    expected = prediction.Predict(predict_request(model, "serving_tensor", images=pixels))
    request = predict_request(model, "serving_tensor", images=pixels)
    tensor = request.inputs["images"]
    tensor.tensor_content = b""
    field = {"int64": tensor.int64_val, "float32": tensor.float_val, "float64": tensor.double_val}
    values = field.get(np.dtype(dtype).name, tensor.int_val)
    values.extend(pixels.ravel()[:97].tolist())
    np.testing.assert_array_equal(tf.make_ndarray(tensor), pixels)
    found = prediction.Predict(request)
    np.testing.assert_array_equal(array(found.outputs["scores"]), array(expected.outputs["scores"]))
    del values[:]
    assert refused(prediction.Predict, request)[0] == "INVALID_ARGUMENT"
    values.extend(pixels.ravel().tolist())
    values.append(1)
    assert refused(prediction.Predict, request)[0] == "INVALID_ARGUMENT"


def test_what_a_short_message_announces_is_limited(prediction, model):
    request = predict_request(model, "serving_tensor", images=np.zeros((1, 16, 16, 3), np.uint8))
    tensor = request.inputs["images"]
    tensor.tensor_content = b""
    tensor.int_val.append(7)
    for count, why in ((257, "at most 256 images"), (2**62, "at most 256"), (0, "at least one")):
        tensor.tensor_shape.dim[0].size = count
        code, text = refused(prediction.Predict, request)
        assert code == "INVALID_ARGUMENT" and why in text
    tensor.tensor_shape.dim[0].size = -1
    assert refused(prediction.Predict, request)[0] == "INVALID_ARGUMENT"
    tensor.tensor_shape.dim[0].size = 256
    assert array(prediction.Predict(request).outputs["scores"]).shape == (256, 10)


def test_one_string_for_all_and_strings_as_bytes(prediction, model, of_model):
    import tensorflow as tf

    request = predict_request(model, "serving_bytes", images=[of_model[8].encoded])
    request.inputs["images"].tensor_shape.dim[0].size = 4
    agree_rows([of_model[8]] * 4, array(prediction.Predict(request).outputs["scores"]))
    request.inputs["images"].tensor_shape.dim[0].size = 2**40
    assert "at most 256" in refused(prediction.Predict, request)[1]

    images = [s.encoded for s in of_model]
    lengths = b"".join(map(varint, map(len, images)))
    packed = predict_request(model, "serving_bytes", images=images)
    tensor = packed.inputs["images"]
    del tensor.string_val[:]
    tensor.tensor_content = lengths + b"".join(images)
    parsed = tf.io.parse_tensor(tensor.SerializeToString(), tf.string)  # by TensorFlow's C++
    assert parsed.numpy().tolist() == images
    agree_rows(of_model, array(prediction.Predict(packed).outputs["scores"]))
    for broken in (lengths, tensor.tensor_content[:-1], tensor.tensor_content + b"x", b"\xff"):
        tensor.tensor_content = broken
        assert "10 strings" in refused(prediction.Predict, packed)[1]
    tensor.string_val.append(b"x")
    assert "got both" in refused(prediction.Predict, packed)[1]


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


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


def test_metadata_have_the_class_names(prediction, rest, model, demo):
    from tensorflow.core.framework import tensor_pb2

    names = json.loads((demo.serving / model / "1" / "model.json").read_text())["class_names"]
    for fields in (["class_names"], ["signature_def", "class_names"]):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        request.model_spec.name = model
        answer = prediction.GetModelMetadata(request)
        assert set(answer.metadata) == set(fields)
        found = tensor_pb2.TensorProto()
        assert answer.metadata["class_names"].Unpack(found)
        assert [n.decode() for n in array(found)] == names
    request.metadata_field.append("labels")
    assert "class_names" in refused(prediction.GetModelMetadata, request)[1]
    metadata = rest.get(f"/v1/models/{model}/metadata").json()["metadata"]
    assert metadata["class_names"] == names


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
