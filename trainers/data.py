"""Training data: what a training needs of it, and memory-mapped arrays read at random."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from common.errors import ConfigError, DataError, nearest
from trainers.arrays import IMAGES, LABELS
from trainers.augment import draw
from trainers.config import TrainConfig
from trainers.contract import Batch, Floats, Images, Labels

T = TypeVar("T")


class Source(Protocol):
    """Images that a training goes through, epoch by epoch."""

    @property
    def labels_N(self) -> Labels:
        """Of all images of the split, for class weights."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """Height, width."""
        ...

    def steps(self, config: TrainConfig) -> int:
        """Returns how many batches an epoch has; every one has as many."""
        ...

    def batches(
        self, config: TrainConfig, weights_C: Floats, *, epoch: int, after: int = 0
    ) -> Iterator[Batch]:
        """Yields an epoch's batches: what it is drawn from are seed and epoch.

        Args:
          weights_C: see `class_weights`.
          epoch: from 1.
          after: batches to pass over; those that follow are the same as without.
        """
        ...


class Validation(Protocol):
    """Images that a model is scored on, always in the same order."""

    def __len__(self) -> int: ...

    def chunks(self, count: int) -> Iterator[tuple[Images, Labels]]:
        """Yields all images and labels, at most `count` at a time."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """Both of these of a split whose arrays lie on the disk."""

    images_NHW3: Images
    labels_N: Labels

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def image_size(self) -> tuple[int, int]:
        height, width = self.images_NHW3.shape[1:3]
        return int(height), int(width)

    def steps(self, config: TrainConfig) -> int:
        return math.ceil(len(self) / config.batch_size)

    def batches(
        self, config: TrainConfig, weights_C: Floats, *, epoch: int, after: int = 0
    ) -> Iterator[Batch]:
        return batches(self, config, weights_C, epoch=epoch, after=after)

    def chunks(self, count: int) -> Iterator[tuple[Images, Labels]]:
        for start in range(0, len(self), count):
            part = slice(start, start + count)
            yield np.ascontiguousarray(self.images_NHW3[part]), self.labels_N[part]

    @classmethod
    def open(cls, directory: Path) -> Split:
        """Opens the shard of a split (see `trainers.arrays`).

        Raises:
          DataError: when it is empty or not of the expected form.
        """
        images = np.load(directory / IMAGES, mmap_mode="r")
        labels = np.load(directory / LABELS)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(labels):
            raise DataError(f"{directory}: expected uint8 N×H×W×3 images and N labels.")
        if not len(labels):
            raise DataError(f"{directory}: the split has no image.")
        return cls(images, labels)


def class_weights(config: TrainConfig, labels_N: Labels, class_names: list[str]) -> Floats:
    """Returns the weight of each class in the loss, float32 C.

    "balanced" is scikit-learn's formula: N / (C × count).
    """
    count_C = np.bincount(labels_N, minlength=len(class_names))
    if config.class_weights == "none":
        return np.ones(len(class_names), np.float32)
    if config.class_weights == "balanced":
        return (len(labels_N) / (len(class_names) * np.maximum(count_C, 1))).astype(np.float32)
    for name in config.class_weights:
        if name not in class_names:
            raise ConfigError(
                f"train.class_weights: no class {name!r} in the data.{nearest(name, class_names)}"
            )
    return np.array([config.class_weights.get(n, 1.0) for n in class_names], np.float32)


def batches(
    split: Split, config: TrainConfig, weights_C: Floats, *, epoch: int, after: int = 0
) -> Iterator[Batch]:
    """Yields one epoch of arrays in random order; see `Source.batches`."""
    order = np.random.default_rng([config.seed, epoch]).permutation(len(split))

    def read(number: int) -> Batch:
        start = number * config.batch_size
        index = np.sort(order[start : start + config.batch_size])
        images_NHW3 = np.ascontiguousarray(split.images_NHW3[index])
        rng = batch_rng(config, epoch, number)
        return make_batch(images_NHW3, split.labels_N[index], config, weights_C, rng)

    return ahead(map(read, range(after, split.steps(config))))


def batch_rng(config: TrainConfig, epoch: int, number: int) -> np.random.Generator:
    """Returns what a batch is drawn with: by its number, so that a training can go on from any."""
    return np.random.default_rng([config.seed, epoch, number + 1])


def make_batch(
    images_NHW3: Images,
    labels_N: Labels,
    config: TrainConfig,
    weights_C: Floats,
    rng: np.random.Generator,
) -> Batch:
    """Returns images and labels with all that a step needs besides."""
    return Batch(
        images_NHW3,
        labels_N,
        targets(labels_N, len(weights_C), config.label_smoothing),
        weights_C[labels_N],
        draw(config.augment, rng, len(labels_N), images_NHW3.shape[1:3]),
    )


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yields items, each made in a thread while the one before it is used."""
    made, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, made, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, made, end)
            yield item  # type: ignore[misc]


def grouped(items: Iterable[T], count: int) -> Iterator[list[T]]:
    """Yields items in lists of so many; the last may be shorter."""
    source = iter(items)
    while group := list(islice(source, count)):
        yield group


def targets(labels_N: Labels, classes: int, smoothing: float) -> Floats:
    """Returns the share of each class, float32 N×C; every class gets smoothing / C.

    Szegedy et al., "Rethinking the Inception Architecture" (2016), as PyTorch has it.
    """
    targets_NC = np.full((len(labels_N), classes), smoothing / classes, np.float32)
    targets_NC[np.arange(len(labels_N)), labels_N] += 1 - smoothing
    return targets_NC
