"""Training data: memory-mapped NumPy shards, read at random by any framework."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError
from common.files import digest
from trainers.augment.draw import draw
from trainers.augment.mixing import mixed
from trainers.config import TrainConfig
from trainers.contract import Batch, Floats, Images, Labels

IMAGES = "images_NHW3.npy"
LABELS = "labels_N.npy"


@dataclass(frozen=True, slots=True)
class Split:
    """One split, on disk until it is read."""

    images_NHW3: Images
    labels_N: Labels
    teacher_NC: NDArray[np.float16] | None = None
    """What a teacher answers (`trainers.distillation`)."""

    def __len__(self) -> int:
        return len(self.labels_N)

    @classmethod
    def open(cls, directory: Path) -> Split:
        """Opens the shard of a split (see `components.array_gen.arrays`).

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

    @property
    def digest(self) -> str:
        """Of the labels and the images' shape, in their order: cheap, and tells most apart."""
        return digest([self.images_NHW3.shape, hashlib.sha256(self.labels_N.tobytes()).hexdigest()])


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
    """Yields one epoch in random order; equal seeds and epochs give equal batches.

    The next batch is read in a thread while the current one is trained on.

    Args:
      after: batches to pass over; those that follow are the same as without.
    """
    order = _order(split.labels_N, config, epoch)
    classes = len(weights_C)
    count = math.ceil(len(split) / config.batch_size)
    augment = config.augment_in(epoch)

    def read(number: int) -> Batch:
        # By its number, so that a training can go on from any batch.
        rng = np.random.default_rng([config.seed, epoch, number + 1])
        start = number * config.batch_size
        index = np.sort(order[start : start + config.batch_size])
        labels_N = split.labels_N[index]
        images_NHW3, augmentation = np.ascontiguousarray(split.images_NHW3[index]), None
        if augment is not None:
            images_NHW3, augmentation = draw(
                augment, rng, images_NHW3, index, epoch=epoch, seed=config.seed
            )
        return mixed(
            Batch(
                images_NHW3,
                labels_N,
                targets(labels_N, classes, config.label_smoothing),
                weights_C[labels_N],
                augmentation,
                None if split.teacher_NC is None else _shares(split.teacher_NC[index]),
                index,
                update=(number + 1) % config.accumulate_steps == 0 or number + 1 == count,
            )
        )

    with ThreadPoolExecutor(1) as pool:
        pending = None
        for number in range(after, count):
            ready, pending = pending, pool.submit(read, number)
            if ready:
                yield ready.result()
        if pending:
            yield pending.result()


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
    """Returns the share of each class, float32 N×C; every class gets smoothing / C.

    Szegedy et al., "Rethinking the Inception Architecture" (2016), as PyTorch has it.
    """
    targets_NC = np.full((len(labels_N), classes), smoothing / classes, np.float32)
    targets_NC[np.arange(len(labels_N)), labels_N] += 1 - smoothing
    return targets_NC
