"""The training loop: the same for every framework.

Batches, order, augmentation, schedule, validation and early stopping are
decided here, so that a comparison of two frameworks compares the frameworks.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import TrainingError
from modelstore.tasks import TASKS
from modelstore.tasks.contract import Task
from trainers.config import TrainConfig
from trainers.contract import Batch, Floats, Learner, Predictor
from trainers.data import Source, Validation
from trainers.schedules import learning_rate

_PREDICT_BATCH = 256
_REPORT_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The figures of one epoch; losses are mean cross-entropies in nats."""

    epoch: int
    """From 1."""
    loss: float
    metric: float
    """The task's headline metric; of the augmented images, while the weights moved."""
    val_loss: float
    val_metric: float
    learning_rate: float
    seconds: float
    images_per_second: float
    """These two: of training only, without validation."""
    data_wait: float
    """Share of the time in which a step waits for its batch."""
    peak_memory_bytes: int
    """Of the process so far, in main memory."""

    def figures(self, headline: str) -> dict[str, float]:
        """Returns all by name, as they are written down; the metric by its own."""
        figures = dataclasses.asdict(self)
        return {name.replace("metric", headline): value for name, value in figures.items()}

    @classmethod
    def of(cls, figures: Mapping[str, Any], headline: str) -> Epoch:
        """Reads what `figures` returned."""
        return cls(**{name.replace(headline, "metric"): v for name, v in figures.items()})


Report = Callable[[dict[str, Any]], None]
"""Takes progress: epoch, epochs, step, steps, loss, and the headline metric by its name."""


def train(
    learner: Learner,
    config: TrainConfig,
    source: Source,
    validation: Validation,
    weights_C: Floats,
    *,
    report: Report,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Trains the learner and leaves it with the weights of its best epoch.

    Args:
      weights_C: class weights, see `trainers.data.class_weights`.
      report: called a few times a second.
      after_epoch: called with each epoch's figures.

    Returns:
      The epochs; the best is that of the least validation loss.

    Raises:
      TrainingError: when the loss is no longer a finite number.
    """
    task = TASKS[config.task]
    steps_per_epoch = source.steps(config)
    steps = steps_per_epoch * config.epochs
    warmup = int(min(config.warmup_epochs * steps_per_epoch, steps / 5))
    epochs: list[Epoch] = []
    best: Epoch | None = None
    kept: Any = None
    step = 0
    for number in range(1, config.epochs + 1):
        began = time.perf_counter()
        reported = 0.0
        seen = 0
        loss_sum = metric_sum = 0.0
        rate = 0.0
        waiting = _Waits(source.batches(config, weights_C, epoch=number))
        for batch in waiting:
            rate = learning_rate(step, peak=config.learning_rate, steps=steps, warmup=warmup)
            result = learner.train_step(batch, rate)
            if not math.isfinite(result.loss):
                raise _diverged(config, number, step % steps_per_epoch + 1, result.loss)
            step += 1
            seen += len(batch.labels_N)
            metric_sum += result.metric_sum
            loss_sum += result.loss * len(batch.labels_N)
            now = time.perf_counter()
            if now - reported > _REPORT_SECONDS:
                reported = now
                report(
                    {
                        "epoch": number,
                        "epochs": config.epochs,
                        "step": step,
                        "steps": steps,
                        "loss": loss_sum / seen,
                        task.HEADLINE: metric_sum / seen,
                    }
                )
        trained = time.perf_counter() - began
        val_loss, val_metric = evaluate(task, learner, validation)
        if not math.isfinite(val_loss):
            raise _diverged(config, number, steps_per_epoch, val_loss)
        epoch = Epoch(
            epoch=number,
            loss=loss_sum / seen,
            metric=metric_sum / seen,
            val_loss=val_loss,
            val_metric=val_metric,
            learning_rate=rate,
            seconds=time.perf_counter() - began,
            images_per_second=seen / trained,
            data_wait=waiting.seconds / trained,
            peak_memory_bytes=peak_memory(),
        )
        epochs.append(epoch)
        after_epoch(epoch)
        if best is None or epoch.val_loss < best.val_loss:
            best, kept = epoch, learner.snapshot()
        patience = config.early_stopping_patience
        if patience and number - best.epoch >= patience:
            break
    learner.restore(kept)
    return epochs


class _Waits(Iterator[Batch]):
    """Counts the seconds that it takes to get the next of some batches."""

    def __init__(self, made: Iterator[Batch]) -> None:
        self._made = made
        self.seconds = 0.0

    def __next__(self) -> Batch:
        began = time.perf_counter()
        try:
            return next(self._made)
        finally:
            self.seconds += time.perf_counter() - began


def peak_memory() -> int:
    """Returns the most bytes of main memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def evaluate(task: Task, predictor: Predictor, validation: Validation) -> tuple[float, float]:
    """Returns the mean loss and headline metric of a predictor on a split."""
    loss = metric = 0.0
    for images_NHW3, labels_N in validation.chunks(_PREDICT_BATCH):
        sums = task.measure(predictor.predict(images_NHW3), labels_N)
        loss, metric = loss + sums[0], metric + sums[1]
    return loss / len(validation), metric / len(validation)


def _diverged(config: TrainConfig, epoch: int, step: int, loss: float) -> TrainingError:
    return TrainingError(
        f"The loss became {loss} in epoch {epoch}, step {step}. Expected a finite number. "
        f"Try a lower train.learning_rate (it is {config.learning_rate:g}) "
        "or more train.warmup_epochs."
    )
