"""gRPC as TensorFlow Serving has it: PredictionService and ModelService."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)

from serving.errors import InvalidRequestError
from serving.models.engines import Images
from serving.models.loaded import LoadedVersion
from serving.models.served import Slot
from serving.off_loop import off_loop
from serving.protocols import numbers, signatures
from serving.protocols.wire import varint
from serving.service import Query, Service

SERVICES = tuple(
    service.full_name
    for file in (prediction_service_pb2, model_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
_DTYPES = {
    types_pb2.DT_UINT8: np.uint8,
    types_pb2.DT_INT32: np.int32,
    types_pb2.DT_INT64: np.int64,
    types_pb2.DT_FLOAT: np.float32,
    types_pb2.DT_DOUBLE: np.float64,
}
_METADATA = {"signature_def", "class_names"}


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict, Classify and GetModelMetadata; the others are UNIMPLEMENTED."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def Predict(self, request: Any, context: Any) -> Any:
        spec = request.model_spec
        with self._request(spec, context) as query:
            name = spec.signature_name or signatures.EXAMPLES
            signature = signatures.find_signature(query.loaded, name)
            size = request.ByteSize()
            with self._service.room() as take:
                take(max(_announced(signature, request.inputs, query) - size, 0))
                images = await off_loop(size, _images, signature, request.inputs, query)
                answer = await query.answer(images)
        outputs = signatures.outputs(signature, answer)
        wanted = signatures.choose(outputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        _name(response.model_spec, query.loaded, signature.name)
        for name in wanted:
            response.outputs[name].CopyFrom(_tensor(outputs[name]))
        return response

    async def Classify(self, request: Any, context: Any) -> Any:
        spec = request.model_spec
        kind = request.input.WhichOneof("kind")
        if kind is None:
            raise InvalidRequestError("Expected an example_list with at least one tf.Example.")
        with self._request(spec, context) as query:
            examples = getattr(request.input, kind)
            query.check_count(len(examples.examples))
            images = await off_loop(request.ByteSize(), _images_of_list, examples)
            answer = await query.answer(images)
        response = classification_pb2.ClassificationResponse()
        _name(response.model_spec, query.loaded, signatures.BYTES)
        for top in answer.top():
            classes = response.result.classifications.add().classes
            for label, score in top:
                classes.add(label=label, score=score)
        return response

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        fields = list(request.metadata_field)
        if not fields or not set(fields) <= _METADATA:
            raise InvalidRequestError(
                f"metadata_field: expected {sorted(_METADATA)}, got {fields}."
            )
        spec = request.model_spec
        definitions = get_model_metadata_pb2.SignatureDefMap()
        with self._service.use(spec.name, *_place(spec)) as loaded:
            for name, signature in signatures.signatures(loaded).items():
                definitions.signature_def[name].CopyFrom(_definition(signature))
        class_names = [name.encode() for name in loaded.card.class_names]
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _name(response.model_spec, loaded, "")
        if "signature_def" in fields:
            response.metadata["signature_def"].Pack(definitions)
        if "class_names" in fields:
            response.metadata["class_names"].Pack(_tensor(np.array(class_names, object)))
        return response

    @contextmanager
    def _request(self, spec: Any, context: Any) -> Iterator[Query]:
        at = spec.name, *_place(spec), context.time_remaining
        with self._service.admitted(), self._service.request(*at) as query:
            yield query


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus; the server's config is changed through its files."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        spec = request.model_spec
        slots = self._service.repository.slots(spec.name, *_place(spec))
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.extend(map(_status, slots))
        return response


def add_services(server: Any, service: Service) -> None:
    """Adds both services to a gRPC server."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(service), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(service), server)


def _place(spec: Any) -> tuple[int | None, str | None]:
    """Returns version and label."""
    choice = spec.WhichOneof("version_choice")
    return (
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _name(spec: Any, loaded: LoadedVersion, signature: str) -> None:
    spec.name, spec.signature_name = loaded.name, signature
    spec.version.value = loaded.version


def _images(signature: signatures.Signature, inputs: Mapping[str, Any], query: Query) -> Any:
    if list(inputs) != [signature.input.name]:
        raise InvalidRequestError(
            f"{signature.name} expects the input {signature.input.name!r}, got {sorted(inputs)}."
        )
    tensor = inputs[signature.input.name]
    if signature.name == signatures.TENSOR:
        return _pixels(tensor, query.loaded.image_shape)
    if tensor.dtype != types_pb2.DT_STRING:
        raise InvalidRequestError(
            f"{signature.input.name}: expected DT_STRING, got {_dtype_name(tensor.dtype)}."
        )
    values = _strings(tensor, query)
    if signature.name == signatures.EXAMPLES:
        return signatures.images_of_examples(values)
    return values


def _images_of_list(examples: Any) -> list[bytes]:
    """Returns the images of an ExampleList, with a context or without."""
    # Serialised messages one after the other are their merge.
    common = examples.context.SerializeToString() if hasattr(examples, "context") else b""
    serialised = [common + e.SerializeToString() for e in examples.examples]
    return signatures.images_of_examples(serialised)


def _announced(signature: signatures.Signature, inputs: Mapping[str, Any], query: Query) -> int:
    """Returns the bytes of pixels that a message announces, which may have few of its own.

    Raises:
      InvalidRequestError, TooLargeError: there are none, or too many images.
    """
    tensor = inputs.get(signature.input.name)
    if signature.name != signatures.TENSOR or tensor is None:
        return 0
    sides = _sides(tensor)
    if sides[1:] != list(query.loaded.image_shape):
        return 0  # `_pixels` refuses it
    query.check_count(max(sides[0], 0))
    return math.prod(sides)


def _strings(tensor: Any, query: Query) -> list[bytes]:
    """Reads a TensorProto of strings [N]: each by itself, one for all, or packed as bytes."""
    sides = _sides(tensor)
    given = list(tensor.string_val[: query.limits.images + 1])
    count = sides[0] if len(sides) == 1 else len(tensor.string_val)
    query.check_count(count)
    _check_one_form("string_val", tensor.string_val, tensor.tensor_content)
    if tensor.tensor_content:
        given = _unpacked_strings(tensor.tensor_content, count)
    if len(given) == 1:  # as TensorFlow writes a constant
        given *= count
    if sides != [len(given)]:
        raise InvalidRequestError(
            f"Expected the shape [{len(given)}] of its {len(given)} values, got {sides}."
        )
    return given


def _unpacked_strings(content: bytes, count: int) -> list[bytes]:
    """Takes apart what TensorFlow's C++ writes: all lengths, then all bytes."""
    try:
        at, lengths = 0, []
        for _ in range(count):
            length, at = varint(content, at)
            lengths.append(length)
    except DecodeError:
        lengths, at = [], 0
    if at + sum(lengths) != len(content) or not lengths:
        raise InvalidRequestError(
            f"tensor_content: expected {count} strings, as TensorFlow packs them."
        )
    starts = itertools.accumulate(lengths, initial=at)
    return [content[start : start + n] for start, n in zip(starts, lengths, strict=False)]


def _pixels(tensor: Any, shape: tuple[int, int, int]) -> Images:
    """Reads a TensorProto as uint8 [N, H, W, 3]; of N, `_announced` has seen that it is small.

    Written here, since TensorFlow's own would make an array of whatever size the shape
    announces, from a message of a few bytes.
    """
    if tensor.dtype not in _DTYPES:
        raise InvalidRequestError(f"images: expected DT_UINT8, got {_dtype_name(tensor.dtype)}.")
    dtype = np.dtype(_DTYPES[tensor.dtype])
    listed = {
        types_pb2.DT_INT64: tensor.int64_val,
        types_pb2.DT_FLOAT: tensor.float_val,
        types_pb2.DT_DOUBLE: tensor.double_val,
    }
    flat = listed.get(tensor.dtype, tensor.int_val)
    _check_one_form("its list of values", flat, tensor.tensor_content)
    if tensor.tensor_content:
        if len(tensor.tensor_content) % dtype.itemsize:
            raise InvalidRequestError("images: tensor_content ends within a value.")
        flat = np.frombuffer(tensor.tensor_content, dtype)
    sides = _sides(tensor)
    count = math.prod(sides)
    is_short = not tensor.tensor_content and 0 < len(flat) < count
    if sides[1:] != list(shape) or (len(flat) != count and not is_short):
        raise InvalidRequestError(
            f"images: expected the shape [N, {', '.join(map(str, shape))}], got {sides} with "
            f"{len(flat)} values."
        )
    pixels = numbers.of_repeated(flat)
    if is_short:  # TensorFlow leaves out what repeats the last value
        pixels = np.pad(pixels, (0, count - len(pixels)), "edge")
    return pixels.reshape(sides)


def _check_one_form(name: str, listed: Any, content: bytes) -> None:
    if len(listed) and content:
        raise InvalidRequestError(f"Expected a tensor in {name} or in tensor_content, got both.")


def _sides(tensor: Any) -> list[int]:
    return [d.size for d in tensor.tensor_shape.dim]


def _tensor(values: Any) -> Any:
    """Writes an output array as a TensorProto."""
    shape = _shape(values.shape)
    if values.dtype == object:
        return tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=list(values.flat)
        )
    # As values, and not as bytes: clients read `float_val`.
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, tensor_shape=shape, float_val=values.ravel()
    )


def _shape(sides: Sequence[int]) -> Any:
    return tensor_shape_pb2.TensorShapeProto(dim=[{"size": side} for side in sides])


def _definition(signature: signatures.Signature) -> Any:
    def info(tensor: signatures.Tensor) -> Any:
        dtype = types_pb2.DataType.Value(tensor.dtype)
        shape = _shape(tensor.shape)
        return meta_graph_pb2.TensorInfo(name=tensor.name, dtype=dtype, tensor_shape=shape)

    return meta_graph_pb2.SignatureDef(
        inputs={signature.input.name: info(signature.input)},
        outputs={t.name: info(t) for t in signature.outputs},
        method_name="tensorflow/serving/predict",
    )


def _status(slot: Slot) -> Any:
    return get_model_status_pb2.ModelVersionStatus(
        version=slot.version,
        state=slot.state,
        status={
            "error_code": "UNKNOWN" if slot.error else "OK",
            "error_message": slot.error or slot.unloaded,
        },
    )


def _dtype_name(number: int) -> str:
    try:
        return str(types_pb2.DataType.Name(number))
    except ValueError:
        return str(number)
