"""Raw examples to NumPy arrays, by the transform graph, on all cores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from common.files import walk_files
from common.process.cpus import available_cpus
from common.process.progress import emit
from common.record.kinds import ARRAY_GEN
from trainers import arrays
from trainers.decoder import Decoder, name_undecodable

_BATCH = 32
"""Examples that a core holds at a time, with their images; fewer of large images."""
_BATCH_BYTES = 16 << 20
"""Of pixels."""
_EVERY = 32
"""Batches between two reports of progress."""


def write_arrays(examples: Path, decoder: Decoder, target: Path) -> None:
    """Writes `images_NHW3.npy` and `labels_N.npy` of a split, in the order of its examples.

    Images of a class that is unseen in train are left out.

    Args:
      examples: the folder of the split's gzipped TFRecords.
      target: an empty folder.

    Raises:
      DataError: the split has no image, or one that the graph cannot decode.
    """
    files = [str(f) for f in walk_files(examples)]
    split = examples.name.removeprefix("Split-")
    arrays.write(target, decoder.shape, _known(split, _decoded(files, decoder)), name=split)


def _known(
    split: str, batches: Iterator[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields what is of a known class, and says how it goes and what was left out."""
    written = unknown = 0
    for number, (pixels, label_N) in enumerate(batches):
        known_N = label_N >= 0
        unknown += int((~known_N).sum())
        written += int(known_N.sum())
        yield pixels[known_N], label_N[known_N]
        if number % _EVERY == 0:
            emit({"kind": "detail", "node": ARRAY_GEN, "text": f"{split}: {written:,} images"})
    if unknown:
        logging.warning("%d images of split %s have a class unseen in train.", unknown, split)


def _decoded(files: list[str], decoder: Decoder) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    most = max(1, min(_BATCH, _BATCH_BYTES // math.prod(decoder.shape)))
    records = tf.data.TFRecordDataset(files, "GZIP").batch(most)
    batches = records.map(decoder, num_parallel_calls=available_cpus()).prefetch(1)
    try:
        yield from batches.as_numpy_iterator()
    except tf.errors.InvalidArgumentError:  # its text holds the file's bytes
        name_undecodable(files, decoder)
        raise
