"""Transformed examples to memory-mapped NumPy shards, once per content."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from absl import logging

from common.errors import DataError
from common.files import digest, sha256_file, walk_files
from components.transform import IMAGE, LABEL
from trainers.data import IMAGES, LABELS

_BATCH = 1024
_KEPT = 2
"""Shards of how many different contents stay on the disk."""


def make_shards(split_dirs: dict[str, Path], image_size: tuple[int, int], cache_dir: Path) -> Path:
    """Returns the directory with a shard per split, making it where it is new.

    Args:
      split_dirs: split name to the directory of its gzipped TFRecords.
      image_size: height and width of the images.
    """
    content = digest(
        {s: [sha256_file(f) for f in walk_files(d)] for s, d in sorted(split_dirs.items())}
    )
    target = cache_dir / content
    if not target.exists():
        building = cache_dir / f".{content}.{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        try:
            for split, directory in split_dirs.items():
                (building / split).mkdir(parents=True)
                _write(split, directory, image_size, building / split)
            os.replace(building, target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    os.utime(target)
    _prune(cache_dir)
    return target


def _write(split: str, source: Path, image_size: tuple[int, int], target: Path) -> None:
    files = [str(f) for f in walk_files(source)]
    shape = (*image_size, 3)
    spec = {
        IMAGE: tf.io.FixedLenFeature([], tf.string),
        LABEL: tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = tf.io.parse_example(serialised, spec)
        return tf.io.decode_raw(features[IMAGE], tf.uint8), features[LABEL]

    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH)
    labels: list[np.ndarray] = []
    unknown = 0
    with open(target / IMAGES, "wb") as out:
        _header(out, (0, *shape))
        for pixels, label_N in records.map(parse).prefetch(2).as_numpy_iterator():
            known_N = label_N >= 0
            unknown += int((~known_N).sum())
            labels.append(label_N[known_N])
            out.write(np.ascontiguousarray(pixels[known_N]).tobytes())
        labels_N = np.concatenate(labels) if labels else np.zeros(0, np.int64)
        # NumPy pads the header so that the first axis can grow in place.
        out.seek(0)
        _header(out, (len(labels_N), *shape))
        out.flush()
        os.fsync(out.fileno())
    np.save(target / LABELS, labels_N)
    if unknown:
        logging.warning("%d images of split %s have a class unseen in train.", unknown, split)
    if not len(labels_N):
        raise DataError(f"The split {split!r} has no image to train or validate on.")


def _header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _prune(cache_dir: Path) -> None:
    kept = sorted(
        (d for d in cache_dir.iterdir() if not d.name.startswith(".")),
        key=lambda d: d.stat().st_mtime,
    )
    for old in kept[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
