"""`tf.data`: encoded bytes in memory to batches of uint8 arrays of one size, on all cores."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import tensorflow as tf

_BATCH = 256


def main(folder: str, side: str) -> None:
    encoded = [p.read_bytes() for p in sorted(Path(folder).rglob("*.jpg"))]
    size = int(side)

    def decode(data: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(data, channels=3)
        image = tf.image.resize(image, (size, size), antialias=True)
        return tf.cast(tf.round(image), tf.uint8)

    def once(data: list[bytes]) -> int:
        batches = tf.data.Dataset.from_tensor_slices(data)
        batches = batches.map(decode, tf.data.AUTOTUNE).batch(_BATCH).prefetch(tf.data.AUTOTUNE)
        return sum(len(b) for b in batches.as_numpy_iterator())

    once(encoded[:_BATCH])
    began = time.perf_counter()
    images = once(encoded)
    print(json.dumps({"seconds": time.perf_counter() - began, "images": images}))


if __name__ == "__main__":
    main(*sys.argv[1:])
