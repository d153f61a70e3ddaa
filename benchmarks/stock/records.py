"""Class folders to one TFRecord file, as TFX has no ingestion of images."""

from __future__ import annotations

import random
from pathlib import Path

import tensorflow as tf

IMAGE = "image"
LABEL = "label"


def write_records(images: Path, destination: Path) -> list[str]:
    """Writes `<destination>/images.tfrecord`; returns the class names by label."""
    classes = sorted(p.name for p in images.iterdir() if p.is_dir())
    files = [
        (p, label) for label, name in enumerate(classes) for p in sorted((images / name).iterdir())
    ]
    random.Random(0).shuffle(files)
    destination.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(destination / "images.tfrecord")) as writer:
        for path, label in files:
            features = tf.train.Features(
                feature={
                    IMAGE: tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[path.read_bytes()])
                    ),
                    LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
            )
            writer.write(tf.train.Example(features=features).SerializeToString())
    return classes
