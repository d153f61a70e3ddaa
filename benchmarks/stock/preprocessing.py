"""TFX's Transform: JPEGs to float images of one size."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from benchmarks.stock.records import IMAGE, LABEL


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """`image_xf`: float32 N×S×S×3, 0 to 1; `label_xf`: int64 N×1."""
    size = custom_config["image_size"]

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(encoded, channels=3)
        return tf.image.resize(image, [size, size]) / 255.0

    images = tf.map_fn(decode, inputs[IMAGE][:, 0], fn_output_signature=tf.float32)
    return {
        f"{IMAGE}_xf": tf.ensure_shape(images, [None, size, size, 3]),
        f"{LABEL}_xf": inputs[LABEL],
    }
