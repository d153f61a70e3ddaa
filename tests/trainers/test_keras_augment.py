"""How often the Keras backend compiles for what is drawn."""

from __future__ import annotations

import numpy as np

from trainers.config import AugmentConfig, TrainConfig
from trainers.contract import load_backend
from trainers.data import Split, batches


def test_a_recipe_is_compiled_once_and_once_more_where_it_is_off() -> None:
    backend = load_backend("keras")
    augment = AugmentConfig(
        auto="rand", random_erasing=0.3, cutout=0.2, mixup=1.0, cutmix=1.0, off_epochs=1
    )
    config = TrainConfig(
        framework="keras", model="small_cnn", batch_size=3, epochs=3, augment=augment
    )
    learner = backend.build(config, num_classes=2, image_size=(8, 8))
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    split = Split(images, np.arange(10) % 2)
    mixes, counts = set(), []
    for epoch in (1, 2, 3):
        for batch in batches(split, config, np.ones(2, np.float32), epoch=epoch):
            learner.train_step(batch, 1e-3)
            mix = batch.augmentation and batch.augmentation.mix
            mixes.add(mix and mix.share == 0)
        counts.append(len(learner._steps))  # type: ignore[attr-defined]
    assert mixes == {True, False, None}
    assert counts == [1, 1, 2]
