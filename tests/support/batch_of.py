"""Batches made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainers.contract import Augmentation, Batch, Images
from trainers.data import targets


def batch_of(
    images_NHW3: Images,
    labels: Any,
    weights: Any = None,
    augmentation: Augmentation | None = None,
    *,
    classes: int | None = None,
    smoothing: float = 0.0,
    update: bool = True,
) -> Batch:
    """Makes a batch whose targets are its labels; each image weighs 1 where no weights are given.

    Args:
      classes: by default as many as the labels need.
    """
    labels_N = np.asarray(labels, np.int64)
    weights = np.ones(len(labels_N)) if weights is None else weights
    return Batch(
        images_NHW3=images_NHW3,
        labels_N=labels_N,
        targets_NC=targets(labels_N, classes or int(labels_N.max()) + 1, smoothing),
        weights_N=np.asarray(weights, np.float32),
        augmentation=augmentation,
        update=update,
    )
