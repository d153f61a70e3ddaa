"""Raw examples to NumPy arrays, by the transform graph, on all cores."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from absl import logging

from common.errors import DataError
from common.files import atomic_file, walk_files
from common.process.cpus import available_cpus
from common.process.progress import emit
from common.record.kinds import ARRAY_GEN
from components.transform.graph import IMAGE, LABEL
from modelstore.raw_example import PATH
from trainers.data import IMAGES, LABELS

_BATCH = 32
"""Examples that a core holds at a time, with their images; fewer of large images."""
_BATCH_BYTES = 16 << 20
"""Of pixels."""
_EVERY = 32
"""Batches between two reports of progress."""


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
        return tf.io.decode_raw(outputs[IMAGE], tf.uint8), outputs[LABEL]


def _feature(spec: tf.TypeSpec) -> tf.io.VarLenFeature | tf.io.FixedLenFeature:
    """Returns how to parse what the graph takes as such a tensor."""
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.io.VarLenFeature(spec.dtype)
    return tf.io.FixedLenFeature(spec.shape[1:], spec.dtype)


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
    labels: list[np.ndarray] = []
    written = unknown = 0
    with atomic_file(target / IMAGES) as out:
        _header(out, (0, *decoder.shape))
        for number, (pixels, label_N) in enumerate(_decoded(files, decoder)):
            known_N = label_N >= 0
            unknown += int((~known_N).sum())
            labels.append(label_N[known_N])
            written += len(labels[-1])
            out.write(pixels[known_N].tobytes())
            if number % _EVERY == 0:
                emit({"kind": "detail", "node": ARRAY_GEN, "text": f"{split}: {written:,} images"})
        if not written:
            raise DataError(f"The split {split!r} has no image to train or validate on.")
        # NumPy pads the header so that the first axis can grow in place.
        out.seek(0)
        _header(out, (written, *decoder.shape))
    with atomic_file(target / LABELS) as out:
        np.save(out, np.concatenate(labels))
    if unknown:
        logging.warning("%d images of split %s have a class unseen in train.", unknown, split)


def _decoded(files: list[str], decoder: Decoder) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    most = max(1, min(_BATCH, _BATCH_BYTES // math.prod(decoder.shape)))
    records = tf.data.TFRecordDataset(files, "GZIP").batch(most)
    batches = records.map(decoder, num_parallel_calls=available_cpus()).prefetch(1)
    try:
        yield from batches.as_numpy_iterator()
    except tf.errors.InvalidArgumentError:  # its text holds the file's bytes
        _name_undecodable(files, decoder)
        raise


def _name_undecodable(files: list[str], decoder: Decoder) -> None:
    """Raises DataError if an image cannot be decoded."""
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


def _header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
