"""The training loop: the same for every framework.

Batches, order, augmentation, schedule, validation and early stopping are
decided here, so that a comparison of two frameworks compares the frameworks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import TrainingError
from trainers.config import TrainConfig
from trainers.contract import Floats, Learner, Predictor
from trainers.data import Split, batches
from trainers.schedule import learning_rate

_PREDICT_BATCH = 256
_REPORT_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The figures of one epoch; losses are mean cross-entropies in nats."""

    epoch: int
    """From 1."""
    loss: float
    accuracy: float
    """Of the augmented training images, while the weights moved."""
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    """Training only, without validation."""


@dataclass(frozen=True, slots=True)
class Outcome:
    epochs: list[Epoch]
    best: Epoch
    """Of the least validation loss; the learner holds its weights."""
    stopped_early: bool


Report = Callable[[dict[str, Any]], None]
"""Takes progress: epoch, epochs, step, steps, loss, accuracy."""


def train(
    learner: Learner,
    config: TrainConfig,
    train_split: Split,
    val_split: Split,
    weights_C: Floats,
    *,
    report: Report,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Outcome:
    """Trains the learner and leaves it with the weights of its best epoch.

    Args:
      weights_C: class weights, see `trainers.data.class_weights`.
      report: called a few times a second.
      after_epoch: called with each epoch's figures.

    Raises:
      TrainingError: when the loss is no longer a finite number.
    """
    steps_per_epoch = math.ceil(len(train_split) / config.batch_size)
    steps = steps_per_epoch * config.epochs
    warmup = int(min(config.warmup_epochs * steps_per_epoch, steps / 5))
    epochs: list[Epoch] = []
    best: Epoch | None = None
    kept: Any = None
    step = 0
    for number in range(1, config.epochs + 1):
        began = time.perf_counter()
        said = 0.0
        seen = correct = 0
        loss_sum = 0.0
        rate = 0.0
        for batch in batches(
            train_split,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=number,
            weights_C=weights_C,
            augment=config.augment,
        ):
            rate = learning_rate(step, peak=config.learning_rate, steps=steps, warmup=warmup)
            result = learner.train_step(batch, rate)
            if not math.isfinite(result.loss):
                raise _diverged(config, number, step % steps_per_epoch + 1, result.loss)
            step += 1
            seen += len(batch.labels_N)
            correct += result.correct
            loss_sum += result.loss * len(batch.labels_N)
            now = time.perf_counter()
            if now - said > _REPORT_SECONDS:
                said = now
                report(
                    {
                        "epoch": number,
                        "epochs": config.epochs,
                        "step": step,
                        "steps": steps,
                        "loss": loss_sum / seen,
                        "accuracy": correct / seen,
                    }
                )
        trained = time.perf_counter() - began
        val_loss, val_accuracy = evaluate(learner, val_split)
        if not math.isfinite(val_loss):
            raise _diverged(config, number, steps_per_epoch, val_loss)
        epoch = Epoch(
            epoch=number,
            loss=loss_sum / seen,
            accuracy=correct / seen,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - began,
            images_per_second=seen / trained,
        )
        epochs.append(epoch)
        after_epoch(epoch)
        if best is None or epoch.val_loss < best.val_loss:
            best, kept = epoch, learner.snapshot()
        patience = config.early_stopping_patience
        if patience and number - best.epoch >= patience:
            break
    assert best is not None  # config.epochs >= 1
    learner.restore(kept)
    return Outcome(epochs, best, stopped_early=len(epochs) < config.epochs)


def evaluate(predictor: Predictor, split: Split) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy of a predictor on a split."""
    loss = 0.0
    correct = 0
    for start in range(0, len(split), _PREDICT_BATCH):
        labels_N = split.labels_N[start : start + _PREDICT_BATCH]
        scores_NC = predictor.predict(
            np.ascontiguousarray(split.images_NHW3[start : start + _PREDICT_BATCH])
        )
        chosen_N = scores_NC[np.arange(len(labels_N)), labels_N].astype(np.float64)
        loss -= float(np.log(np.maximum(chosen_N, 1e-12)).sum())
        correct += int((scores_NC.argmax(axis=1) == labels_N).sum())
    return loss / len(split), correct / len(split)


def _diverged(config: TrainConfig, epoch: int, step: int, loss: float) -> TrainingError:
    return TrainingError(
        f"The loss became {loss} in epoch {epoch}, step {step}. Expected a finite number. "
        f"Try a lower train.learning_rate (it is {config.learning_rate:g}) "
        "or more train.warmup_epochs."
    )
