"""One training step, in full: augmentation, loss, optimizer, weights in memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from batch_of import batch_of

from trainers.config import TrainConfig
from trainers.contract import Augmentation, Batch, Floats, Images
from trainers.torch_backend import augment, backend
from trainers.torch_backend.learner import TorchLearner

SIZE = 8

torch.set_num_threads(1)  # Tiny networks: more threads only wait for each other.


def learner_of(seed: int = 0, **config: Any) -> TorchLearner:
    backend.configure(threads=1, seed=seed)
    config = {"framework": "pytorch", "model": "small_cnn", **config}
    learner = backend.build(TrainConfig(**config), num_classes=3, image_size=(SIZE, SIZE))
    assert isinstance(learner, TorchLearner)
    return learner


def some(count: int = 6, weights: list[float] | None = None, smoothing: float = 0.0) -> Batch:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    return batch_of(images, np.arange(count) % 3, weights, classes=3, smoothing=smoothing)


def reference(images_NHW3: Images, augmentation: Augmentation) -> Floats:
    """`Augmentation` as its docstring says, pixel by pixel; colours 0 to 1."""
    count, height, width, _ = images_NHW3.shape
    result = np.zeros(images_NHW3.shape, np.float64)
    for n, y, x in np.ndindex(count, height, width):
        assert augmentation.affine_N23 is not None and augmentation.colour_N34 is not None
        source_x, source_y = augmentation.affine_N23[n].astype(np.float64) @ (x, y, 1)
        left, top = int(np.floor(source_x)), int(np.floor(source_y))
        colour = np.zeros(3)
        for v in (top, top + 1):
            for u in (left, left + 1):
                if 0 <= v < height and 0 <= u < width:
                    share = (1 - abs(source_x - u)) * (1 - abs(source_y - v))
                    colour += share * images_NHW3[n, v, u] / 255
        colour = augmentation.colour_N34[n] @ (*colour, 1)
        result[n, y, x] = colour.clip(0, 1)
    return result.astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 9), (1, 4), (7, 1)])
def test_augmentation_agrees_with_its_definition(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    images_NHW3 = rng.integers(0, 256, (5, height, width, 3), np.uint8)
    affine_N23 = rng.normal([[1, 0, 0], [0, 1, 0]], [[0.3, 0.3, 2]] * 2, (5, 2, 3))
    affine_N23[0] = [[-1, 0, width - 1], [0, 1, 0]]  # a flip
    affine_N23[1] = [[1, 0, 1], [0, 1, -2]]  # a shift by whole pixels
    colour_N34 = rng.normal(np.eye(3, 4), 0.2, (5, 3, 4))
    drawn = Augmentation(
        affine_N23=affine_N23.astype(np.float32), colour_N34=colour_N34.astype(np.float32)
    )
    images_N3HW = torch.tensor(images_NHW3).permute(0, 3, 1, 2) / 255
    result_NHW3 = augment.apply(images_N3HW, drawn).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(result_NHW3, reference(images_NHW3, drawn), atol=1 / 255 / 10)


def test_a_flip_is_exact_and_nothing_changes_nothing() -> None:
    images_N3HW = torch.rand(2, 3, 4, 6)
    flip = np.array([[[-1, 0, 5], [0, 1, 0]]] * 2, np.float32)
    flipped = augment.apply(images_N3HW, Augmentation(affine_N23=flip))
    np.testing.assert_allclose(flipped, images_N3HW.flip(3), atol=1e-6)
    np.testing.assert_array_equal(augment.apply(images_N3HW, Augmentation()), images_N3HW)


def test_training_sees_the_augmented_images() -> None:
    flipped = np.array([[[-1, 0, SIZE - 1], [0, 1, 0]]] * 6, np.float32)
    batch = some()
    by_hand = dataclasses.replace(batch, images_NHW3=batch.images_NHW3[:, :, ::-1])
    drawn = dataclasses.replace(batch, augmentation=Augmentation(affine_N23=flipped))
    losses = [learner_of().train_step(b, 1e-3).loss for b in (by_hand, drawn, batch)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[0] != pytest.approx(losses[2], abs=1e-3)


def test_loss_and_correct_are_the_contracts() -> None:
    weights = [1.0, 0.0, 2.0, 0.5, 1.0, 3.0]
    batch = some(weights=weights, smoothing=0.1)
    learner = learner_of()
    scorer = learner._scorer
    with torch.no_grad():
        scorer.train()
        images = scorer.normalise(torch.tensor(batch.images_NHW3).float())
        logits = scorer.net(images).double().numpy()
    result = learner.train_step(batch, 1e-3)

    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = 0.9 * np.eye(3)[batch.labels_N] + 0.1 / 3
    loss_N = -(target * log_p).sum(axis=1)
    assert result.loss == pytest.approx((loss_N * weights).sum() / sum(weights), abs=1e-5)
    assert result.metric_sum == (logits.argmax(axis=1) == batch.labels_N).sum()


def test_training_learns_and_repeats_itself() -> None:
    def losses(seed: int) -> list[float]:
        learner = learner_of(seed)
        return [learner.train_step(some(), 1e-2).loss for _ in range(15)]

    first = losses(0)
    assert first[-1] < 0.3 * first[0]
    assert first == losses(0)
    assert first != losses(1)


def test_the_learning_rate_is_the_steps_own() -> None:
    learner = learner_of(optimizer="sgd", weight_decay=0.0)
    before = learner.snapshot()
    learner.train_step(some(), 1e-12)
    for key, value in learner._scorer.net.named_parameters():
        np.testing.assert_allclose(value.detach(), before[f"net/{key}"], atol=1e-9)


def test_snapshot_and_restore() -> None:
    learner, images = learner_of(), some().images_NHW3
    expected = learner.predict(images)
    snapshot = learner.snapshot()
    for _ in range(3):
        learner.train_step(some(), 1e-2)
    assert np.abs(learner.predict(images) - expected).max() > 1e-3
    learner.restore(snapshot)
    np.testing.assert_array_equal(learner.predict(images), expected)


def test_odd_batches() -> None:
    # 8×8 images leave one value per channel, of which BatchNorm takes no single one.
    learner = learner_of(model="resnet18")
    one = learner.train_step(some(1), 1e-3)
    assert np.isfinite(one.loss) and one.metric_sum in (0, 1)
    nothing = learner.train_step(some(2, weights=[1e-30, 0.0]), 1e-3)
    assert nothing.loss == pytest.approx(0.0)


def test_predict_is_one_answer_whatever_the_batch() -> None:
    learner = learner_of()
    images = np.random.default_rng(0).integers(0, 256, (1100, SIZE, SIZE, 3), np.uint8)
    images.setflags(write=False)  # as memory-mapped shards are
    scores = learner.predict(images)
    assert scores.shape == (1100, 3) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(scores[777:780], learner.predict(images[777:780]), atol=1e-5)
    assert learner.predict(images[:0]).shape == (0, 3)
