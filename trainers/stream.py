"""Training data read from the examples' shards, for what would not fit the disk as arrays.

Nothing is kept but a buffer of encoded images.  An epoch reads every shard once; what is read
and in which order is drawn from the seed and the epoch alone, so a training goes on from any
batch by reading again: what it passes over is not decoded.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from common.errors import DataError
from common.files import walk_files
from modelstore.raw_example import LABEL
from trainers.config import TrainConfig
from trainers.contract import Batch, Floats, Images, Labels
from trainers.data import ahead, grouped, make_batch
from trainers.decoder import Decoder, name_undecodable

T = TypeVar("T")
_AT_ONCE = 16
"""Shards that are read side by side, since neighbours in a shard are often of one class."""
_BLOCK = 16
"""Records that are read of one shard before those of the next."""
_READ = 256
"""Records that TensorFlow hands over together."""


class Stream:
    """A split's raw examples: a `Source` and a `Validation` of `trainers.data`.

    Args:
      examples: the folder of the split's gzipped TFRecords; their labels are read at once.
      transform_graph: decodes and resizes them, as it does for `trainers.data.Split`.
      image_size: height and width that it makes them.
      threads: decode; as a CPU's training uses all others, one beside it.

    Raises:
      DataError: no image of these classes is there.
    """

    def __init__(
        self,
        examples: Path,
        transform_graph: Path,
        image_size: tuple[int, int],
        class_names: tuple[str, ...],
        *,
        threads: int,
    ) -> None:
        self.image_size = image_size
        self._files = [str(file) for file in walk_files(examples)]
        self._decoder = Decoder(transform_graph, image_size)
        self._next: list[bytes] = []
        self._lock = threading.Lock()
        self._class_ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(class_names), tf.range(len(class_names), dtype=tf.int64)
            ),
            default_value=-1,
        )
        self._options = tf.data.Options()
        self._options.threading.private_threadpool_size = threads
        self._options.threading.max_intra_op_parallelism = 1
        self._options.experimental_optimization.inject_prefetch = False
        labels_N = self._read(self._files, 1).map(lambda examples_N, ids_N: ids_N)
        self.labels_N: Labels = np.concatenate(
            [np.zeros(0, np.int64), *labels_N.as_numpy_iterator()]
        )
        if not len(self.labels_N):
            split = examples.name.removeprefix("Split-")
            raise DataError(f"The split {split!r} has no image to train or validate on.")

    def __len__(self) -> int:
        return len(self.labels_N)

    def steps(self, config: TrainConfig) -> int:
        return math.ceil(len(self) / config.batch_size)

    def batches(
        self, config: TrainConfig, weights_C: Floats, *, epoch: int, after: int = 0
    ) -> Iterator[Batch]:
        rng = np.random.default_rng([config.seed, epoch])
        files = [self._files[number] for number in rng.permutation(len(self._files))]
        drawn = shuffled(self._examples(files, _AT_ONCE), config.shuffle_buffer, rng)
        left = islice(drawn, after * config.batch_size, None)

        def made() -> Iterator[Batch]:
            decoded = self._decoded(left, config.batch_size)
            for number, (images_NHW3, labels_N) in enumerate(decoded, after):
                yield make_batch(
                    images_NHW3,
                    labels_N,
                    config,
                    weights_C,
                    place=(epoch, number, self.steps(config)),
                    augment=config.augment_in(epoch),
                )

        return ahead(made())

    def chunks(self, count: int) -> Iterator[tuple[Images, Labels]]:
        return self._decoded(self._examples(self._files, 1), count)

    def _read(self, files: list[str], at_once: int) -> Any:
        """A `tf.data.Dataset` of examples of the known classes, and of their labels."""

        def known(examples_N: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            spec = {LABEL: tf.io.FixedLenFeature([], tf.string, "")}
            ids_N = self._class_ids.lookup(tf.io.parse_example(examples_N, spec)[LABEL])
            return examples_N[ids_N >= 0], ids_N[ids_N >= 0]

        records = tf.data.Dataset.from_tensor_slices(tf.constant(files, tf.string)).interleave(
            lambda file: tf.data.TFRecordDataset(file, "GZIP"),
            cycle_length=at_once,
            block_length=_BLOCK,
        )
        return records.batch(_READ).map(known).prefetch(1).with_options(self._options)

    def _examples(self, files: list[str], at_once: int) -> Iterator[bytes]:
        examples = self._read(files, at_once).map(lambda examples_N, ids_N: examples_N)
        for examples_N in examples.as_numpy_iterator():
            yield from examples_N

    def _decoded(self, examples: Iterable[bytes], count: int) -> Iterator[tuple[Images, Labels]]:
        for group in grouped(examples, count):
            try:
                with self._lock:
                    self._next = group
                    pixels, labels_N = next(self._decoding)
            except tf.errors.InvalidArgumentError:  # its text holds the file's bytes
                name_undecodable(self._files, self._decoder)
                raise
            # Copied: what TensorFlow gives cannot be written to, which PyTorch warns of.
            yield np.array(pixels).reshape(-1, *self._decoder.shape), np.array(labels_N)

    @cached_property
    def _decoding(self) -> Iterator[Any]:
        """Decodes `_next` each time: one graph on a pool of its own, ready for good.

        Called as a function, it would run in the pool that all of TensorFlow has.
        """

        def groups() -> Iterator[list[bytes]]:
            while True:
                yield self._next

        dataset = tf.data.Dataset.from_generator(
            groups, output_signature=tf.TensorSpec([None], tf.string)
        )
        decoded = dataset.map(self._decoder).with_options(self._options)
        return iter(decoded.as_numpy_iterator())


def shuffled(items: Iterable[T], size: int, rng: np.random.Generator) -> Iterator[T]:
    """Yields all items once, each drawn from a buffer of so many that follow each other."""
    source = iter(items)
    buffer = list(islice(source, size))
    for item in source:
        at = rng.integers(size)
        yield buffer[at]
        buffer[at] = item
    for at in rng.permutation(len(buffer)):
        yield buffer[at]
