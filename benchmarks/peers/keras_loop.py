"""What one writes in Keras: `fit` on arrays in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import keras
import numpy as np

from trainers.config import TrainConfig
from trainers.contract import load_backend


def epochs(images: np.ndarray, labels: np.ndarray, classes: int, *, batch: int) -> Iterator[float]:
    """Trains for ever; yields each epoch's images a second."""
    config = TrainConfig(framework="keras", model="small_cnn")
    size = (images.shape[1], images.shape[2])
    learner = load_backend("keras").build(config, num_classes=classes, image_size=size)
    model = learner.model  # type: ignore[attr-defined]
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
        jit_compile=False,
    )
    while True:
        began = time.perf_counter()
        model.fit(images, labels, batch_size=batch, epochs=1, verbose=0)
        yield len(images) / (time.perf_counter() - began)
