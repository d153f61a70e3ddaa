"""Raw examples of small pictures, and the graph that decodes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from odd_images import encode, smooth
from tensorflow_metadata.proto.v0 import schema_pb2

import tensorflow as tf  # isort: skip

from modelstore import raw_example as features
from modelstore.raw_example import serialise

SIZE = (16, 12)
CLASSES = ["žába", "cat", "Dog", "a cat"]


def schema_of_raw_examples() -> schema_pb2.Schema:
    """As SchemaGen makes it, with a column of the user's that some images lack."""
    schema = schema_pb2.Schema()
    texts = (features.ENCODED, features.FORMAT, features.PATH, features.SHA256, features.LABEL)
    numbers = (features.WIDTH, features.HEIGHT, features.CHANNELS, features.BYTES)
    shape = schema_pb2.FixedShape(dim=[schema_pb2.FixedShape.Dim(size=1)])
    always = schema_pb2.FeaturePresence(min_fraction=1.0, min_count=1)
    for names, type_ in ((texts, schema_pb2.BYTES), (numbers, schema_pb2.INT)):
        for name in names:
            schema.feature.add(name=name, type=type_, presence=always, shape=shape)
    schema.feature.add(name="camera", type=schema_pb2.BYTES)
    return schema


def pictures(count: int) -> list[tuple[str, bytes, bytes]]:
    """(label, path, file) of images of several kinds and sizes, each different."""
    kinds = ("PNG", "JPEG", "GIF", "BMP")
    shifted = [np.roll(smooth(), (3 * n, n), (0, 1)) for n in range(count)]
    return [
        (CLASSES[n % 4], b"%d.x" % n, encode(kinds[n % 4], each[: 12 + n % 5, : 16 + n % 3]))
        for n, each in enumerate(shifted)
    ]


def write(folder: Path, images: list[tuple[str, bytes, bytes]], files: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for number in range(files):
        path = folder / f"data_tfrecord-{number:05d}-of-{files:05d}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for label, name, data in images[number * len(images) // files :][
                : (number + 1) * len(images) // files - number * len(images) // files
            ]:
                example = serialise(
                    encoded=data, format="jpeg", path=name, sha256="", width=1, height=1,
                    channels=3, size=len(data), label=label, extra={},
                )  # fmt: skip
                writer.write(example)
    return folder
