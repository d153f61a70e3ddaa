"""The losses of every backend, against NumPy: the promises of `trainers.contract.StepResult`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from batch_of import batch_of

from trainers.config import DistillationConfig, TrainConfig
from trainers.contract import Backend, Batch, Learner, load_backend
from trainers.distillation import softened
from trainers.frameworks import frameworks

CLASSES = 3
LOSSES = ("cross_entropy", "focal", "bce")

MODELS = {
    "keras": '''
import keras
import numpy as np

def pixels(num_classes, image_size, scale=1.0, dtype="float32"):
    """Logits that are the one pixel's colours, -scale to scale."""
    images = keras.Input((*image_size, 3))
    dense = keras.layers.Dense(num_classes)
    logits = dense(keras.layers.Flatten()(images))
    model = keras.Model(images, keras.layers.Activation("linear", dtype=dtype)(logits))
    dense.set_weights([scale * np.eye(num_classes), np.zeros(num_classes)])
    return model
''',
    "pytorch": '''
import torch
from torch import nn

class Pixels(nn.Module):
    def __init__(self, classes, scale, dtype):
        super().__init__()
        self.dense, self.dtype = nn.Linear(classes, classes), getattr(torch, dtype)
        with torch.no_grad():
            self.dense.bias.zero_()
            self.dense.weight[:] = scale * torch.eye(classes)

    def forward(self, images):
        return self.dense(images.permute(0, 2, 3, 1).flatten(1)).to(self.dtype)

def pixels(num_classes, image_size, scale=1.0, dtype="float32"):
    """Logits that are the one pixel's colours, -scale to scale."""
    return Pixels(num_classes, scale, dtype)
''',
}


@dataclass(frozen=True)
class Framework:
    name: str
    backend: Backend

    def learner(self, *, scale: float = 1.0, dtype: str = "float32", **values: Any) -> Learner:
        config = TrainConfig(
            framework=self.name,
            model=f"pixels_in_{self.name}:pixels",
            model_args={"scale": scale, "dtype": dtype},
            optimizer="sgd",
            **values,
        )
        return self.backend.build(config, num_classes=CLASSES, image_size=(1, 1))


@pytest.fixture(scope="module", params=frameworks())
def framework(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Framework]:
    name, folder = request.param, tmp_path_factory.mktemp("models")
    backend = load_backend(name)
    backend.configure(threads=2, seed=0)
    (folder / f"pixels_in_{name}.py").write_text(MODELS[name])
    sys.path.insert(0, str(folder))
    yield Framework(name, backend)
    sys.path.remove(str(folder))


def some_batch(*, smoothing: float = 0.1, teacher: bool = False, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (8, 1, 1, 3), dtype=np.uint8)
    batch = batch_of(
        images,
        rng.integers(0, CLASSES, 8),
        rng.uniform(0, 2, 8),
        classes=CLASSES,
        smoothing=smoothing,
    )
    if not teacher:
        return batch
    teacher_NC = softened(rng.dirichlet(np.ones(CLASSES), 8).astype(np.float32), 2.0)
    teacher_NC[0] = [0, 1, 0]  # as sure as can be
    return replace(batch, teacher_NC=teacher_NC)


def logits_of(batch: Batch, scale: float) -> np.ndarray:
    return scale * (batch.images_NHW3.reshape(-1, CLASSES) / 127.5 - 1)


def log_softmax(logits_NC: np.ndarray) -> np.ndarray:
    shifted_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
    return shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True))


def expected(name: str, logits_NC: np.ndarray, targets_NC: np.ndarray, gamma: float) -> np.ndarray:
    """The loss of each image, in float64."""
    if name == "bce":
        each_NC = np.logaddexp(0, logits_NC) - targets_NC * logits_NC
        return each_NC.sum(axis=1)
    log_NC = log_softmax(logits_NC)
    factor_NC = (-np.expm1(log_NC)) ** gamma if name == "focal" else 1.0
    return -(targets_NC * factor_NC * log_NC).sum(axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_numpy_s(framework: Framework, loss: Any, smoothing: float) -> None:
    batch = some_batch(smoothing=smoothing)
    learner = framework.learner(scale=3, loss=loss, focal_gamma=1.5)
    each_N = expected(loss, logits_of(batch, 3), batch.targets_NC, 1.5)
    assert learner.train_step(batch, 0.0).loss == pytest.approx(
        np.average(each_N, weights=batch.weights_N), rel=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_goes_down_the_loss(framework: Framework, loss: Any) -> None:
    """The gradient is the loss's own, as finite differences have it."""
    batch, rate = some_batch(), 1e-3
    learner = framework.learner(scale=2, loss=loss, momentum=0.0, weight_decay=0.0)
    learner.train_step(batch, rate)
    before = mean_of(loss, logits_of(batch, 2), batch)
    after = learner.train_step(batch, 0.0).loss
    inputs = [*logits_of(batch, 1).T, np.ones(8)]  # the last is the bias's
    slopes = []
    for input_N, column in itertools.product(inputs, range(CLASSES)):
        moved_NC = logits_of(batch, 2)
        moved_NC[:, column] += 1e-6 * input_N
        slopes.append((mean_of(loss, moved_NC, batch) - before) / 1e-6)
    assert before - after == pytest.approx(rate * np.square(slopes).sum(), rel=0.02)


def mean_of(loss: str, logits_NC: np.ndarray, batch: Batch) -> float:
    each_N = expected(loss, logits_NC, batch.targets_NC, 2.0)
    return float(np.average(each_N, weights=batch.weights_N))


@pytest.mark.parametrize("teacher", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_huge_logits_do_no_harm(
    framework: Framework, loss: Any, gamma: float, teacher: bool
) -> None:
    batch = some_batch(teacher=teacher)
    distillation = {"distillation": taught(0.5, 1.0)} if teacher else {}
    learner = framework.learner(scale=1e4, loss=loss, focal_gamma=gamma, **distillation)
    result = learner.train_step(batch, 1e-3)
    if not teacher:
        each_N = expected(loss, logits_of(batch, 1e4), batch.targets_NC, gamma)
        mean = np.average(each_N, weights=batch.weights_N)
        assert result.loss == pytest.approx(mean, rel=1e-3)
    assert np.isfinite(learner.train_step(batch, 0.0).loss)
    assert np.isfinite(learner.predict(batch.images_NHW3)).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_computed_in_float32_whatever_the_model_gives(
    framework: Framework, loss: Any
) -> None:
    batch = some_batch(teacher=True)
    config = {"loss": loss, "distillation": taught(0.5, 2.0)}
    exact = framework.learner(scale=3, **config).train_step(batch, 0.0).loss
    rounded = framework.learner(scale=3, dtype="bfloat16", **config).train_step(batch, 0.0).loss
    # Eight bits of each logit; of sums in bfloat16 much less would be right.
    assert rounded == pytest.approx(exact, rel=0.01) and rounded != exact
    assert np.float32(rounded).view(np.uint32) & 0xFFFF, "it has more bits than a bfloat16"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("alpha", "temperature"), [(0.3, 1.0), (0.7, 4.0), (1.0, 2.0)])
def test_distillation_is_numpy_s(
    framework: Framework, loss: Any, alpha: float, temperature: float
) -> None:
    batch = some_batch(teacher=True)
    learner = framework.learner(scale=3, loss=loss, distillation=taught(alpha, temperature))
    logits_NC, teacher_NC = logits_of(batch, 3), batch.teacher_NC
    own_N = expected(loss, logits_NC, batch.targets_NC, 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart_NC = teacher_NC * (np.log(teacher_NC) - log_softmax(logits_NC / temperature))
    apart_N = np.nansum(apart_NC, axis=1)
    each_N = (1 - alpha) * own_N + alpha * temperature**2 * apart_N
    assert learner.train_step(batch, 0.0).loss == pytest.approx(
        np.average(each_N, weights=batch.weights_N), rel=1e-5
    )


def test_a_student_learns_its_teacher_s_answers_and_no_labels(framework: Framework) -> None:
    rng = np.random.default_rng(0)
    batch = batch_of(
        rng.integers(0, 256, (8, 1, 1, 3), dtype=np.uint8), rng.integers(0, CLASSES, 8)
    )
    answers = rng.normal(size=(3, CLASSES))
    logits_NC = (batch.images_NHW3.reshape(-1, 3) / 127.5 - 1) @ answers
    teacher_NC = np.exp(log_softmax(logits_NC)).astype(np.float32)
    learner = framework.learner(distillation=taught(1.0, 2.0), weight_decay=0.0)
    taught_batch = replace(batch, teacher_NC=softened(teacher_NC, 2.0))
    for _ in range(300):
        result = learner.train_step(taught_batch, 0.3)
    assert result.loss == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(learner.predict(batch.images_NHW3), teacher_NC, atol=0.02)


def taught(alpha: float, temperature: float) -> DistillationConfig:
    return DistillationConfig(model="serving/teacher/1", alpha=alpha, temperature=temperature)
