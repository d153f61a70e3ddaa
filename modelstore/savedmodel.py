"""The SavedModel every framework's model is served as.

It carries the transform graph, so it takes what users have: serialised raw
examples or image files.  It loads with TensorFlow alone.

    serving_default   examples: serialised tf.Example, string [N]
                      → scores float32 [N,C]
    serving_bytes     images: encoded image files, string [N]
                      → scores [N,C], and the task's outputs: of a classification
                      labels string [N,k], label_scores [N,k]
    serving_tensor    images: uint8 [N,H,W,3] → scores float32 [N,C]
    decode_images     images: encoded image files, string [N] → images uint8 [N,H,W,3]
                      (for engines that take pixels, such as ONNX Runtime)
    transform_features  examples, string [N] → label_id int64 [N]
                      (for TensorFlow Model Analysis; -1 for an unknown class)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from modelstore.raw_example import ENCODED, LABEL
from modelstore.tasks import classification
from modelstore.tasks.contract import Task

SIGNATURE_EXAMPLES = "serving_default"
SIGNATURE_BYTES = "serving_bytes"
SIGNATURE_TENSOR = "serving_tensor"
SIGNATURE_DECODE = "decode_images"
SIGNATURE_LABELS = "transform_features"
SCORES = "scores"
IMAGES = "images"
LABEL_ID = "label_id"


class ServingModule(tf.Module):  # type: ignore[misc]
    """The transform graph followed by a model, with the signatures above."""

    def __init__(
        self,
        model: Any,
        transform_graph: Path,
        class_names: tuple[str, ...],
        image_size: tuple[int, int],
        task: Task,
    ) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.image_size = image_size
        self.transform = tf.saved_model.load(str(transform_graph / "transform_fn"))
        self.class_names = tf.constant(class_names)
        self.class_ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(class_names), tf.range(len(class_names), dtype=tf.int64)
            ),
            default_value=-1,
        )

    def decode(self, encoded_N: tf.Tensor) -> tf.Tensor:
        """Decodes image files to uint8 [N,H,W,3], by the transform graph."""
        ((features,), _) = self.transform.transform_fn.structured_input_signature
        count = tf.shape(encoded_N)[0]
        inputs = {name: _filler(spec, count) for name, spec in features.items()}
        spec = features[ENCODED]
        inputs[ENCODED] = (
            _sparse_column(encoded_N)
            if isinstance(spec, tf.SparseTensorSpec)
            else tf.reshape(encoded_N, [-1] + [1] * (spec.shape.rank - 1))
        )
        raw_N = self.transform.transform_fn(inputs)["image"]
        images = tf.reshape(tf.io.decode_raw(raw_N, tf.uint8), [-1, *self.image_size, 3])
        return tf.ensure_shape(images, [None, *self.image_size, 3])

    def serve_tensor(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {SCORES: self.model(images)}

    def serve_bytes(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        scores_NC = self.model(self.decode(images))
        return {SCORES: scores_NC, **_ANSWERS[self.task.NAME](scores_NC, self.class_names)}

    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {ENCODED: tf.io.FixedLenFeature([], tf.string)})
        return {SCORES: self.model(self.decode(parsed[ENCODED]))}

    def decode_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {IMAGES: self.decode(images)}

    def transform_labels(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {LABEL: tf.io.FixedLenFeature([], tf.string, "")})
        return {LABEL_ID: self.class_ids.lookup(parsed[LABEL])}


def save(module: ServingModule, directory: Path) -> None:
    """Writes the SavedModel with its signatures."""
    pixels = tf.TensorSpec([None, *module.image_size, 3], tf.uint8, name="images")

    def signature(function: Any, spec: tf.TensorSpec) -> Any:
        # jax2tf's functions must not be rewritten by autograph.
        return tf.function(function, autograph=False).get_concrete_function(spec)

    examples = tf.TensorSpec([None], tf.string, name="examples")
    files = tf.TensorSpec([None], tf.string, name="images")
    tf.saved_model.save(
        module,
        str(directory),
        signatures={
            SIGNATURE_EXAMPLES: signature(module.serve_examples, examples),
            SIGNATURE_BYTES: signature(module.serve_bytes, files),
            SIGNATURE_TENSOR: signature(module.serve_tensor, pixels),
            SIGNATURE_DECODE: signature(module.decode_images, files),
            SIGNATURE_LABELS: signature(module.transform_labels, examples),
        },
    )


def _likeliest(scores_NC: tf.Tensor, class_names: tf.Tensor) -> dict[str, tf.Tensor]:
    top = tf.math.top_k(scores_NC, k=min(classification.ANSWERS, len(class_names)))
    return {"labels": tf.gather(class_names, top.indices), "label_scores": top.values}


_ANSWERS = {classification.NAME: _likeliest}
"""By task, what `serving_bytes` tells besides the scores; as `Task.answer`, in TensorFlow."""


def _filler(spec: Any, count: tf.Tensor) -> Any:
    """Returns an empty value for a raw feature that decoding does not look at."""
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.SparseTensor(
            tf.zeros([0, 2], tf.int64),
            tf.zeros([0], spec.dtype),
            tf.stack([tf.cast(count, tf.int64), 0]),
        )
    empty = tf.constant("" if spec.dtype == tf.string else 0, spec.dtype)
    return tf.fill([count] + [int(d) for d in spec.shape[1:]], empty)


def _sparse_column(values_N: tf.Tensor) -> tf.SparseTensor:
    count = tf.shape(values_N, out_type=tf.int64)[0]
    rows = tf.stack([tf.range(count), tf.zeros_like(tf.range(count))], axis=1)
    return tf.SparseTensor(rows, values_N, tf.stack([count, 1]))
