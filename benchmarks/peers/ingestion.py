"""A bare loop over a folder: read, decode with Pillow, write TFRecords, a process for each CPU."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from benchmarks.core.machine import cpus


def main(folder: str) -> None:
    files = sorted(str(p) for p in Path(folder).rglob("*.jpg"))
    count = cpus()
    with get_context("spawn").Pool(count) as pool, tempfile.TemporaryDirectory() as target:
        pool.map(_import, range(4 * count), chunksize=1)
        began = time.perf_counter()
        jobs = [(files[n::count], f"{target}/{n}.tfrecord") for n in range(count)]
        written = sum(pool.starmap(write, jobs, chunksize=1))
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "images": written}))


def _import(_: int) -> None:
    import tensorflow  # noqa: F401

    time.sleep(0.2)  # so that every process gets some


def write(files: list[str], target: str) -> int:
    """Writes one file of examples; returns how many."""
    import tensorflow as tf
    from PIL import Image

    with tf.io.TFRecordWriter(target) as writer:
        for file in files:
            data = Path(file).read_bytes()
            Image.open(io.BytesIO(data)).load()
            label = Path(file).parent.name.encode()
            values = {"image/encoded": data, "image/path": file.encode(), "label": label}
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return len(files)


if __name__ == "__main__":
    main(*sys.argv[1:])
