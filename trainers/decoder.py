"""From serialised raw examples to pixels and labels, by the transform graph that models carry."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

from common.errors import DataError
from modelstore.raw_example import PATH

_IMAGE, _LABEL = "image", "label"
"""What the graph gives, as `components.transform.graph` calls it."""


class Decoder:
    """The transform graph, from serialised raw examples to pixels and labels."""

    def __init__(self, transform_graph: Path, image_size: tuple[int, int]) -> None:
        self.shape = (*image_size, 3)
        # Kept, since the graph needs the vocabulary that it holds.
        self._loaded = tf.saved_model.load(str(transform_graph / "transform_fn"))
        ((inputs,), _) = self._loaded.transform_fn.structured_input_signature
        self._inputs = {name: _feature(spec) for name, spec in inputs.items()}

    def __call__(self, examples_N: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns pixels, uint8 [N, H×W×3], and labels, int64 [N]; -1 for an unseen class."""
        outputs = self._loaded.transform_fn(tf.io.parse_example(examples_N, self._inputs))
        return tf.io.decode_raw(outputs[_IMAGE], tf.uint8), outputs[_LABEL]


def _feature(spec: tf.TypeSpec) -> tf.io.VarLenFeature | tf.io.FixedLenFeature:
    """Returns how to parse what the graph takes as such a tensor."""
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.io.VarLenFeature(spec.dtype)
    return tf.io.FixedLenFeature(spec.shape[1:], spec.dtype)


def name_undecodable(files: list[str], decoder: Decoder) -> None:
    """Raises DataError with the name of the first image that cannot be decoded, if one is."""
    spec = {PATH: tf.io.FixedLenFeature([], tf.string, "")}
    for example in tf.data.TFRecordDataset(files, "GZIP"):
        try:
            decoder(example[None])
        except tf.errors.InvalidArgumentError:
            path = tf.io.parse_single_example(example, spec)[PATH].numpy()
            shown = os.fsencode(path).decode("utf-8", "backslashreplace")
            raise DataError(
                f"{shown}: expected an image that TensorFlow decodes, got one that passed "
                "ingestion and that it refuses; remove it or save it anew, and run again."
            ) from None
