"""A real learner of a few lines: multinomial logistic regression in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainers.arrays import IMAGES, LABELS
from trainers.contract import Arrays, Batch, Floats, Images, StepResult
from trainers.data import Split


class SoftmaxRegression:
    """Plain gradient descent on the batch's weighted cross-entropy."""

    def __init__(self, pixels: int, classes: int) -> None:
        self.weights_PC = np.zeros((pixels + 1, classes))
        self.parameter_count = self.weights_PC.size
        self.average_PC = self.weights_PC.copy()
        self.rates: list[float] = []
        self.batches: list[Batch] = []

    def train_step(self, batch: Batch, learning_rate: float) -> StepResult:
        self.rates.append(learning_rate)
        self.batches.append(batch)
        inputs_NP, rows_N = _inputs(batch.images_NHW3), np.arange(len(batch.labels_N))
        scores_NC = self._scores(inputs_NP)
        share_N = batch.weights_N / batch.weights_N.sum()
        with np.errstate(divide="ignore"):
            loss = -(share_N * np.log(scores_NC[rows_N, batch.labels_N])).sum()
        correct = int((scores_NC.argmax(axis=1) == batch.labels_N).sum())
        gradient_NC = scores_NC.copy()
        gradient_NC[rows_N, batch.labels_N] -= 1
        self.weights_PC -= learning_rate * inputs_NP.T @ (gradient_NC * share_N[:, None])
        self.average_PC = 0.9 * self.average_PC + 0.1 * self.weights_PC
        return StepResult(loss=float(loss), metric_sum=correct)

    def predict(self, images_NHW3: Images) -> Floats:
        return self._scores(_inputs(images_NHW3)).astype(np.float32)

    def snapshot(self) -> Arrays:
        return {"weights": self.weights_PC.copy()}

    def restore(self, snapshot: Arrays) -> None:
        self.weights_PC = snapshot["weights"].copy()

    def state(self) -> Arrays:
        return self.snapshot() | {"average": self.average_PC.copy()}

    def set_state(self, state: Arrays) -> None:
        self.restore(state)
        self.average_PC = state["average"].copy()

    def exchange_average(self) -> None:
        self.weights_PC, self.average_PC = self.average_PC, self.weights_PC

    def save(self, directory: Path) -> None:
        np.save(directory / "weights.npy", self.weights_PC)

    def _scores(self, inputs_NP: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # absurd learning rates are part of the tests
            logits_NC = inputs_NP @ self.weights_PC
            exp_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
            scores_NC: np.ndarray = exp_NC / exp_NC.sum(axis=1, keepdims=True)
            return scores_NC


def _inputs(images_NHW3: Images) -> np.ndarray:
    flat_NP = images_NHW3.reshape(len(images_NHW3), -1) / 255
    return np.concatenate([flat_NP, np.ones((len(flat_NP), 1))], axis=1)


def bright_and_dark(count: int, *, noise: float = 0.0, seed: int = 0, size: int = 2) -> Split:
    """Class 0 is dark and class 1 is bright, but for a fraction of wrong labels."""
    rng = np.random.default_rng(seed)
    labels_N = np.arange(count) % 2
    images_NHW3 = rng.integers(0, 100, (count, size, size, 3)) + 120 * labels_N[:, None, None, None]
    wrong_N = rng.random(count) < noise
    return Split(images_NHW3.astype(np.uint8), np.where(wrong_N, 1 - labels_N, labels_N))


def write_split(directory: Path, split: Split) -> None:
    directory.mkdir(parents=True)
    np.save(directory / IMAGES, split.images_NHW3)
    np.save(directory / LABELS, split.labels_N)
