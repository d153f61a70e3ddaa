"""Training data: memory-mapped NumPy shards, read at random by any framework."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import ConfigError, DataError, nearest
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
    """Yields one epoch in random order; equal seeds and epochs give equal batches.

    The next batch is read in a thread while the current one is trained on.

    Args:
      after: batches to pass over; those that follow are the same as without.
    """
    order = np.random.default_rng([config.seed, epoch]).permutation(len(split))
    classes = len(weights_C)
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
            )
        )

    with ThreadPoolExecutor(1) as pool:
        pending = None
        for number in range(after, math.ceil(len(split) / config.batch_size)):
            ready, pending = pending, pool.submit(read, number)
            if ready:
                yield ready.result()
        if pending:
            yield pending.result()


def targets(labels_N: Labels, classes: int, smoothing: float) -> Floats:
    """Returns the share of each class, float32 N×C; every class gets smoothing / C.

    Szegedy et al., "Rethinking the Inception Architecture" (2016), as PyTorch has it.
    """
    targets_NC = np.full((len(labels_N), classes), smoothing / classes, np.float32)
    targets_NC[np.arange(len(labels_N)), labels_N] += 1 - smoothing
    return targets_NC
