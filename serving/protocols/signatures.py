"""The signatures of a pushed model, for every protocol that speaks of tensors.

A request names its inputs; they become encoded images or pixels, and the scores
become the outputs that the signature has in the SavedModel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import nearest
from modelstore.raw_example import ENCODED
from serving.answer import TOP_K, Answer
from serving.errors import InvalidRequestError
from serving.models.loaded import LoadedVersion
from serving.protocols.wire import parse


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: its name, TensorFlow's dtype, and shape with -1 for the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    input: Tensor
    outputs: tuple[Tensor, ...]


EXAMPLES, BYTES, TENSOR = "serving_default", "serving_bytes", "serving_tensor"


def signatures(loaded: LoadedVersion) -> dict[str, Signature]:
    """Returns the signatures by name, as in the SavedModel."""
    classes = len(loaded.card.class_names)
    k = min(TOP_K, classes)
    scores = Tensor("scores", "DT_FLOAT", (-1, classes))
    top = (Tensor("labels", "DT_STRING", (-1, k)), Tensor("label_scores", "DT_FLOAT", (-1, k)))
    pixels = Tensor("images", "DT_UINT8", (-1, *loaded.image_shape))
    return {
        EXAMPLES: Signature(EXAMPLES, Tensor("examples", "DT_STRING", (-1,)), (scores,)),
        BYTES: Signature(BYTES, Tensor("images", "DT_STRING", (-1,)), (scores, *top)),
        TENSOR: Signature(TENSOR, pixels, (scores,)),
    }


def find_signature(loaded: LoadedVersion, name: str) -> Signature:
    """Raises InvalidRequestError for a signature that is not there."""
    by_name = signatures(loaded)
    if name not in by_name:
        raise InvalidRequestError(f"No signature {name!r}.{nearest(name, by_name)}")
    return by_name[name]


def outputs(signature: Signature, answer: Answer) -> dict[str, Any]:
    """Returns the signature's outputs: arrays by name; strings as bytes objects."""
    arrays: dict[str, Any] = {"scores": answer.scores_NC}
    if signature.name == BYTES:
        top = answer.top()
        arrays["labels"] = np.array([[n.encode() for n, _ in row] for row in top], object)
        arrays["label_scores"] = np.array([[s for _, s in row] for row in top], np.float32)
    return arrays


def images_of_examples(examples: Sequence[bytes]) -> list[bytes]:
    """Takes the encoded images out of serialised raw examples.

    Raises:
      InvalidRequestError: one is none, or has no image.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    images = []
    for index, serialised in enumerate(examples):
        try:
            features = parse(example_pb2.Example, serialised).features.feature
        except DecodeError:
            raise InvalidRequestError(
                f"Example {index}: expected a serialised tf.Example, got {len(serialised)} bytes "
                "that are none. Encoded images go to the signature serving_bytes."
            ) from None
        values = features[ENCODED].bytes_list.value if ENCODED in features else []
        if len(values) != 1:
            raise InvalidRequestError(
                f"Example {index}: expected one value of {ENCODED}, got {len(values)}."
            )
        images.append(bytes(values[0]))
    return images


def choose(outputs: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Returns names of the outputs that are wanted, in that order; all without a wish.

    Raises:
      InvalidRequestError: one is not there, or asked for twice.
    """
    if unknown := [name for name in wanted if name not in outputs]:
        raise InvalidRequestError(f"No output {unknown[0]!r}. Known: {', '.join(outputs)}.")
    if len(set(wanted)) != len(wanted):
        raise InvalidRequestError("Expected every output to be asked for once.")
    return list(wanted or outputs)
