"""Training data: memory-mapped NumPy shards, read at random by any framework."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import ConfigError, DataError, nearest
from trainers.augment import draw
from trainers.config import AugmentConfig, TrainConfig
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
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    weights_C: Floats,
    augment: AugmentConfig,
) -> Iterator[Batch]:
    """Yields one epoch in random order; equal seeds and epochs give equal batches.

    The next batch is read in a thread while the current one is trained on.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(split))

    def read(start: int) -> Batch:
        index = np.sort(order[start : start + batch_size])
        labels_N = split.labels_N[index]
        return Batch(
            np.ascontiguousarray(split.images_NHW3[index]),
            labels_N,
            weights_C[labels_N],
            draw(augment, rng, len(index), split.images_NHW3.shape[1:3]),
        )

    first, *others = range(0, len(split), batch_size)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(read, first)
        for start in others:
            batch, pending = pending.result(), pool.submit(read, start)
            yield batch
        yield pending.result()
