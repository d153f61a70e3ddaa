"""The Open Inference Protocol (V2): what REST and gRPC have in common.

A model has one input, `images`: BYTES [N], encoded image files, or UINT8 [N, H, W, 3],
pixels.  Its outputs are `scores` FP32 [N, C], `labels` BYTES [N, k] and `label_scores`
FP32 [N, k], the likeliest first.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelstore.versions import parse_version
from serving.answer import Answer
from serving.errors import InvalidRequestError, TooLargeError, UnknownModelError
from serving.models.loaded import LoadedVersion
from serving.models.repository import Repository
from serving.protocols import signatures
from serving.protocols.numbers import Bytes

SERVER_NAME = "visionline"
EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "model_repository")
PLATFORM = "visionline_image_classifier"
INPUT = "images"
_SCORES = "scores"
_MOST = 1 << 16
"""Values of BYTES that are unpacked; images have a smaller limit of their own."""
_RANK = 4

_CONFIG_TYPES = {"DT_STRING": "TYPE_STRING", "DT_FLOAT": "TYPE_FP32", "DT_UINT8": "TYPE_UINT8"}
_DATATYPES = {"DT_STRING": "BYTES", "DT_FLOAT": "FP32", "DT_UINT8": "UINT8"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a request or an answer; BYTES are bytes objects."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any
    """np.ndarray [*shape]; for BYTES a list of bytes."""

    def packed(self) -> bytes:
        """Returns the binary form: BYTES each after its length, four bytes, little endian."""
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(v)) + v for v in self.values)
        return bytes(self.values.tobytes())


def metadata(loaded: LoadedVersion, repository: Repository) -> dict[str, Any]:
    """Describes a model, as REST has it."""
    slots = repository.slots(loaded.name)
    signature = signatures.find_signature(loaded, signatures.BYTES)
    inputs, outputs = (
        [described(t.name, _DATATYPES[t.dtype], t.shape) for t in tensors]
        for tensors in ((signature.input,), signature.outputs)
    )
    return {
        "name": loaded.name,
        "versions": [str(s.version) for s in slots if s.state == "AVAILABLE"],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {"class_names": list(loaded.card.class_names)},
    }


def configuration(loaded: LoadedVersion) -> dict[str, Any]:
    """Describes a model as Triton's extension does; over gRPC its metadata have no parameters."""
    signature = signatures.find_signature(loaded, signatures.BYTES)
    inputs, outputs = (
        [{"name": t.name, "data_type": _CONFIG_TYPES[t.dtype], "dims": t.shape} for t in tensors]
        for tensors in ((signature.input,), signature.outputs)
    )
    class_names = json.dumps(loaded.card.class_names, ensure_ascii=False)
    return {
        "name": loaded.name,
        "platform": PLATFORM,
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "parameters": {"class_names": {"string_value": class_names}},
    }


def index(repository: Repository, ready: bool) -> list[dict[str, str]]:
    """Lists every version that was seen, as the repository extension does.

    Args:
      ready: list only those that answer.
    """
    states = {"AVAILABLE": "READY", "LOADING": "LOADING", "UNLOADING": "UNLOADING"}
    return [
        {
            "name": name,
            "version": str(version),
            "state": states.get(slot.state, "UNAVAILABLE"),
            "reason": slot.error or slot.unloaded,
        }
        for name, slots in repository.models().items()
        for version, slot in slots.items()
        if slot.state == "AVAILABLE" or not ready
    ]


def check_load(parameters: Iterable[str]) -> None:
    """Refuses what asks for another model than the one in the folder.

    Raises:
      InvalidRequestError: for Triton's parameters `config` and `file:…`.
    """
    if refused := [p for p in parameters if p == "config" or p.startswith("file:")]:
        raise InvalidRequestError(
            f"{refused[0]}: models come from the serving folder, not from a request."
        )


def version_number(text: str) -> int | None:
    """Reads the version in a path or message; None for "".

    Raises:
      UnknownModelError: it is no number.
    """
    if not text:
        return None
    version = parse_version(text)
    if version is None:
        raise UnknownModelError(f"Versions are numbers such as 1 or 12; got {text!r}.")
    return version


def images_of(tensors: Sequence[Tensor]) -> Any:
    """Returns the images of a request's inputs.

    Raises:
      InvalidRequestError: there is not exactly one, or it is of another type.
    """
    if len(tensors) != 1:
        raise InvalidRequestError(f"Expected one input, {INPUT!r}, got {len(tensors)}.")
    (tensor,) = tensors
    if tensor.name != INPUT:
        raise InvalidRequestError(f"Expected the input {INPUT!r}, got {tensor.name!r}.")
    if tensor.datatype == "BYTES":
        if tensor.shape not in ((len(tensor.values),), (len(tensor.values), 1)):
            raise InvalidRequestError(
                f"{INPUT}: expected the shape [{len(tensor.values)}] for as many image files, "
                f"got {list(tensor.shape)}."
            )
        return tensor.values
    if tensor.datatype == "UINT8":
        return tensor.values
    raise InvalidRequestError(
        f"{INPUT}: expected BYTES (image files) or UINT8 (pixels), got {tensor.datatype!r}."
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that a request asks for."""

    name: str
    classes: int = 0
    """How many of the likeliest classes stand for it; 0: the tensor itself."""
    is_binary: bool = False


def wanted(name: str, classes: Any, is_binary: bool = False) -> Wanted:
    """Reads an output of a request, with the parameter of Triton's classification extension.

    Raises:
      InvalidRequestError: it is no number of classes, or not for the scores.
    """
    if classes is None or (classes == 0 and classes is not False):
        return Wanted(name, is_binary=is_binary)
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
        raise InvalidRequestError(
            f"{name}: classification: expected a number of classes from 1 on, got {classes!r}."
        )
    if name != _SCORES:
        raise InvalidRequestError(
            f"{name}: classification: expected it for the output {_SCORES!r} alone."
        )
    return Wanted(name, classes, is_binary)


def outputs_of(answer: Answer, loaded: LoadedVersion, requested: Sequence[Wanted]) -> list[Tensor]:
    """Returns the outputs that are wanted, in that order; all without a wish.

    Raises:
      InvalidRequestError: one is not there, or asked for twice.
    """
    signature = signatures.find_signature(loaded, signatures.BYTES)
    arrays = signatures.outputs(signature, answer)
    datatypes = {t.name: _DATATYPES[t.dtype] for t in signature.outputs}
    classes = {output.name: output.classes for output in requested}
    return [
        _classified(answer, classes[name])
        if classes.get(name)
        else Tensor(
            name,
            datatypes[name],
            tuple(arrays[name].shape),
            list(arrays[name].flat) if datatypes[name] == "BYTES" else arrays[name],
        )
        for name in signatures.choose(arrays, [output.name for output in requested])
    ]


def _classified(answer: Answer, k: int) -> Tensor:
    """Writes the k likeliest classes of each image as Triton does, "score:index:label"."""
    k = min(k, len(answer.class_names))
    best_NK = np.argsort(-answer.scores_NC, axis=1, kind="stable")[:, :k]
    texts = [
        f"{answer.scores_NC[n, index]:f}:{index}:{answer.class_names[index]}".encode()
        for n, best in enumerate(best_NK.tolist())
        for index in best
    ]
    return Tensor(_SCORES, "BYTES", best_NK.shape, texts)


def unpack_bytes(data: bytes) -> list[bytes]:
    """Raises InvalidRequestError where lengths and data do not fit."""
    values: list[bytes] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise InvalidRequestError("BYTES: the last length is cut off.")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if at + length > len(data):
            raise InvalidRequestError(
                f"BYTES: a value of {length} bytes is announced, {len(data) - at} are there."
            )
        values.append(data[at : at + length])
        at += length
        if len(values) > _MOST:
            raise TooLargeError(f"BYTES: expected at most {_MOST:,} values, got more.")
    return values


def from_raw(name: str, datatype: str, shape: tuple[int, ...], data: bytes | Bytes) -> Tensor:
    """Makes a tensor of its binary form.

    Raises:
      InvalidRequestError: the data do not fill the shape.
    """
    if len(shape) > _RANK:
        raise InvalidRequestError(f"{name}: expected a shape of at most {_RANK} sides.")
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, unpack_bytes(bytes(data)))
    if datatype != "UINT8":
        return Tensor(name, datatype, shape, None)  # `images_of` says what is expected
    count = math.prod(shape)
    if any(side < 0 for side in shape) or count != len(data):
        raise InvalidRequestError(
            f"{name}: the shape {list(shape)} asks for {count} bytes, got {len(data)}."
        )
    return Tensor(name, datatype, shape, np.frombuffer(data, np.uint8).reshape(shape))


def described(name: str, datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}
