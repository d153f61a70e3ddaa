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
from numpy.typing import NDArray

from common.errors import DataError
from trainers.arrays import IMAGES, LABELS
from trainers.augment.draw import draw
from trainers.augment.mixing import mixed
from trainers.config import AugmentConfig, TrainConfig
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
    teacher_NC: NDArray[np.float16] | None = None
    """What a teacher answers (`trainers.distillation`)."""

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


def check_labels(split: str, labels_N: Labels, classes: int) -> None:
    """Raises DataError unless all labels are those of classes, 0 to classes - 1."""
    if wrong := int(((labels_N < 0) | (labels_N >= classes)).sum()):
        raise DataError(
            f"The split {split!r}: expected labels from 0 to {classes - 1}, one for each of the "
            f"{classes} classes, got others for {wrong} of {len(labels_N)} images, from "
            f"{labels_N.min()} to {labels_N.max()}. Make its arrays anew."
        )


def class_weights(config: TrainConfig, labels_N: Labels, class_names: list[str]) -> Floats:
    """Returns the weight of each class in the loss, float32 C.

    "balanced" is scikit-learn's formula: N / (C × count).
    """
    count_C = np.bincount(labels_N, minlength=len(class_names))
    if config.class_weights == "none":
        return np.ones(len(class_names), np.float32)
    if config.class_weights == "balanced":
        return (len(labels_N) / (len(class_names) * np.maximum(count_C, 1))).astype(np.float32)
    return np.array([config.class_weights.get(n, 1.0) for n in class_names], np.float32)


def batches(
    split: Split, config: TrainConfig, weights_C: Floats, *, epoch: int, after: int = 0
) -> Iterator[Batch]:
    """Yields one epoch of arrays in random order; see `Source.batches`."""
    order, steps = _order(split.labels_N, config, epoch), split.steps(config)
    augment = config.augment_in(epoch)

    def read(number: int) -> Batch:
        start = number * config.batch_size
        index = np.sort(order[start : start + config.batch_size])
        return make_batch(
            np.ascontiguousarray(split.images_NHW3[index]),
            split.labels_N[index],
            config,
            weights_C,
            place=(epoch, number, steps),
            augment=augment,
            index_N=index,
            teacher_NC=None if split.teacher_NC is None else _shares(split.teacher_NC[index]),
        )

    return ahead(map(read, range(after, split.steps(config))))


def make_batch(
    images_NHW3: Images,
    labels_N: Labels,
    config: TrainConfig,
    weights_C: Floats,
    *,
    place: tuple[int, int, int],
    augment: AugmentConfig | None,
    targets_NC: Floats | None = None,
    index_N: Labels | None = None,
    teacher_NC: Floats | None = None,
) -> Batch:
    """Returns images and labels with all that a step needs besides.

    Args:
      place: epoch from 1, number of the batch in it from 0, and batches of an epoch.
      augment: draws changes of the images, by this place, so that a training can go on from any.
      targets_NC: where they are not the labels'.
      index_N: where the images stand in their split, if they have a place there.
    """
    epoch, number, steps = place
    augmentation = None
    if augment is not None:
        images_NHW3, augmentation = draw(
            augment,
            np.random.default_rng([config.seed, epoch, number + 1]),
            images_NHW3,
            np.arange(len(labels_N)) if index_N is None else index_N,
            epoch=epoch,
            seed=config.seed,
        )
    if targets_NC is None:
        targets_NC = targets(labels_N, len(weights_C), 0.0)
    return mixed(
        Batch(
            images_NHW3,
            labels_N,
            smoothed(targets_NC, config.label_smoothing),
            weights_C[labels_N],
            augmentation,
            teacher_NC,
            index_N,
            update=(number + 1) % config.accumulate_steps == 0 or number + 1 == steps,
        )
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


def _order(labels_N: Labels, config: TrainConfig, epoch: int) -> NDArray[np.int64]:
    """Returns the place in the split of each image of an epoch, as many as the split has."""
    rng = np.random.default_rng([config.seed, epoch])
    if config.sampling == "shuffle":
        return rng.permutation(len(labels_N))
    by_class = np.argsort(labels_N, kind="stable")
    _, start_P, count_P = np.unique(labels_N[by_class], return_index=True, return_counts=True)
    # Of the classes that are present in turn, so that none is there more than once more often.
    turns_N = rng.permutation(np.resize(rng.permutation(len(start_P)), len(labels_N)))
    drawn: NDArray[np.int64] = by_class[start_P[turns_N] + rng.integers(count_P[turns_N])]
    return drawn


def _shares(teacher_NC: NDArray[np.float16]) -> Floats:
    shares_NC: Floats = teacher_NC.astype(np.float32)
    shares_NC /= shares_NC.sum(axis=1, keepdims=True)
    return shares_NC


def targets(labels_N: Labels, classes: int, smoothing: float) -> Floats:
    """Returns the share of each class, float32 N×C; see `smoothed`."""
    return smoothed(np.eye(classes, dtype=np.float32)[labels_N], smoothing)


def smoothed(shares_NC: Floats, smoothing: float) -> Floats:
    """Spreads a part of each image's target over all classes.

    Szegedy et al., "Rethinking the Inception Architecture" (2016), as PyTorch has it.
    """
    if not smoothing:
        return shares_NC
    return (1 - np.float32(smoothing)) * shares_NC + np.float32(smoothing / shares_NC.shape[1])
