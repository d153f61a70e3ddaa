"""The training loop: the same for every framework.

Batches, order, augmentation, schedule, validation and early stopping are
decided here, so that a comparison of two frameworks compares the frameworks.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import TrainingError
from modelstore.tasks import TASKS
from modelstore.tasks.contract import Task
from trainers import generators
from trainers.checkpoint import Checkpoint, Checkpoints
from trainers.config import TrainConfig
from trainers.contract import Arrays, Batch, Floats, Learner, Predictor
from trainers.data import Source, Validation
from trainers.schedules import learning_rate

_PREDICT_BATCH = 256
_REPORT_SECONDS = 0.2
_NAMED = 8
"""Images of a batch that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The figures of one epoch; losses are means in nats."""

    epoch: int
    """From 1."""
    loss: float
    """Of `train.loss`, distillation included; of validation it is the task's own."""
    metric: float
    """The task's headline metric; of the augmented images, while the weights moved."""
    val_loss: float
    val_metric: float
    learning_rate: float
    seconds: float
    images_per_second: float
    """These two: of training only, without validation."""
    data_wait: float | None = None
    """Share of the time in which a step waits for its batch."""
    peak_memory_bytes: int | None = None
    """Of the process so far, in main memory; these two are not in histories of before 2026-12."""

    def figures(self, headline: str) -> dict[str, float]:
        """Returns all by name, as they are written down; the metric by its own."""
        figures = dataclasses.asdict(self)
        return {name.replace("metric", headline): value for name, value in figures.items()}

    @classmethod
    def of(cls, figures: Mapping[str, Any], headline: str) -> Epoch:
        """Reads what `figures` returned."""
        return cls(**{name.replace(headline, "metric"): v for name, v in figures.items()})


Report = Callable[[dict[str, Any]], None]
"""Takes progress: epoch, epochs, step, steps, loss, the headline metric by its name, and of the
epoch learning_rate, images_per_second, data_wait; seconds_left of the training."""


@dataclass(slots=True, kw_only=True)
class Position:
    """How far a training has come, between two steps; with the learner's state, all of it."""

    epoch: int = 1
    """The one that is trained on, from 1."""
    step: int = 0
    """So many steps of this epoch are done; the next five are sums over them."""
    seen: int = 0
    loss_sum: float = 0.0
    metric_sum: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    epochs: list[Epoch] = field(default_factory=list)
    """Those that are done."""
    best: int = 0
    """The epoch whose weights are kept; 0: there are none yet."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Position:
        """Reads what `dataclasses.asdict` made of one."""
        return cls(**{**values, "epochs": [Epoch(**epoch) for epoch in values["epochs"]]})


def chosen(config: TrainConfig, epochs: Sequence[Epoch]) -> Epoch:
    """Returns the epoch whose weights are exported, by `TrainConfig.best`."""
    return epochs[-1] if config.best == "last" else _best(config, epochs)


def _best(config: TrainConfig, epochs: Sequence[Epoch]) -> Epoch:
    """Returns the first of the best epochs, which early stopping goes by, too."""
    if config.best == TASKS[config.task].HEADLINE:
        return max(epochs, key=lambda e: (e.val_metric, -e.val_loss))
    return min(epochs, key=lambda e: e.val_loss)


def why(config: TrainConfig, epochs: Sequence[Epoch]) -> str:
    """Says which epoch is exported, and why."""
    epoch, headline = chosen(config, epochs), TASKS[config.task].HEADLINE
    reason = {
        "last": "the last",
        "loss": f"the least validation loss, {epoch.val_loss:.4g}",
        "ema": f"the least validation loss of averaged weights, {epoch.val_loss:.4g}",
    }.get(config.best, f"the greatest validation {headline}, {epoch.val_metric:.4g}")
    return f"The weights of epoch {epoch.epoch} of {len(epochs)} are exported: {reason}."


def train(
    learner: Learner,
    config: TrainConfig,
    source: Source,
    validation: Validation,
    weights_C: Floats,
    *,
    report: Report,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
    checkpoints: Checkpoints | None = None,
    start: Checkpoint | None = None,
) -> list[Epoch]:
    """Trains the learner and leaves it with the weights of the epoch that is `chosen`.

    Args:
      weights_C: class weights, see `trainers.data.class_weights`.
      report: called a few times a second.
      after_epoch: called with each epoch's figures.
      checkpoints: where the training is kept, so that it can go on after its process died.
      start: what it goes on from.

    Returns:
      The epochs, those before `start` among them.

    Raises:
      TrainingError: when the loss is no longer a finite number.
    """
    training = _Training(learner, config, source, validation, weights_C, report, checkpoints)
    if start is not None:
        training.go_on(start)
    return training.run(after_epoch)


class _Training:
    def __init__(
        self,
        learner: Learner,
        config: TrainConfig,
        source: Source,
        validation: Validation,
        weights_C: Floats,
        report: Report,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._learner = learner
        self._config = config
        self._source, self._validation = source, validation
        self._weights_C = weights_C
        self._report = report
        self._checkpoints = checkpoints
        self._task = TASKS[config.task]
        self._steps_per_epoch = source.steps(config)
        self._steps = self._steps_per_epoch * config.epochs
        self._updates_per_epoch = math.ceil(self._steps_per_epoch / config.accumulate_steps)
        self._at = Position()
        self._kept: Arrays | None = None
        """The weights of the epoch `self._at.best`."""

    def go_on(self, start: Checkpoint) -> None:
        self._at = Position.of(start.position)
        self._kept = start.best
        if start.state:
            generators.set_state(start.state)
            self._learner.set_state(start.state)

    def run(self, after_epoch: Callable[[Epoch], None]) -> list[Epoch]:
        at, has_worked = self._at, False
        while not self._has_ended():
            has_worked = True
            self._train()
            epoch = self._validated()
            at.epochs.append(epoch)
            at.epoch, at.step, at.seen = at.epoch + 1, 0, 0
            at.loss_sum = at.metric_sum = at.seconds = at.waited = 0.0
            after_epoch(epoch)
        if self._kept is None:  # the last epoch's are wanted
            self._kept, at.best = self._learner.snapshot(), at.epochs[-1].epoch
        self._learner.restore(self._kept)
        if has_worked and self._checkpoints is not None:
            self._checkpoints.finish(dataclasses.asdict(at), self._kept)
        return at.epochs

    def _has_ended(self) -> bool:
        epochs, patience = self._at.epochs, self._config.early_stopping_patience
        if not epochs:
            return False
        without_better = len(epochs) - _best(self._config, epochs).epoch
        return len(epochs) == self._config.epochs or 0 < patience <= without_better

    def _updates(self, batches: int) -> int:
        """Counts the steps of the optimizer, those of the epoch's first batches the last."""
        before = (self._at.epoch - 1) * self._updates_per_epoch
        return before + math.ceil(batches / self._config.accumulate_steps)

    def _rate(self, update: int) -> float:
        return learning_rate(update, config=self._config, steps_per_epoch=self._updates_per_epoch)

    def _train(self) -> None:
        """Takes the steps of the epoch that are not done."""
        at, reported = self._at, 0.0
        before = (at.epoch - 1) * self._steps_per_epoch
        mark = time.perf_counter()
        made = self._source.batches(self._config, self._weights_C, epoch=at.epoch, after=at.step)
        waiting = _Waits(made, at.waited)
        for batch in waiting:
            rate = self._rate(self._updates(at.step + 1) - 1)
            result = self._learner.train_step(batch, rate)
            at.step += 1
            if not math.isfinite(result.loss):
                raise _diverged(self._config, at.epoch, at.step, result.loss, batch)
            at.seen += len(batch.labels_N)
            at.metric_sum += result.metric_sum
            at.loss_sum += result.loss * len(batch.labels_N)
            now = time.perf_counter()
            at.seconds, mark, at.waited = at.seconds + now - mark, now, waiting.seconds
            if now - reported > _REPORT_SECONDS:
                reported = now
                self._report(
                    {
                        "epoch": at.epoch,
                        "epochs": self._config.epochs,
                        "step": before + at.step,
                        "steps": self._steps,
                        "loss": at.loss_sum / at.seen,
                        self._task.HEADLINE: at.metric_sum / at.seen,
                        "learning_rate": rate,
                        "images_per_second": at.seen / at.seconds,
                        "data_wait": at.waited / at.seconds,
                        "seconds_left": self._seconds_left(),
                    }
                )
            done = self._updates(at.step)
            # Not while gradients are added up, which are part of no state.
            if batch.update and self._checkpoints is not None and self._checkpoints.is_due(done):
                self._checkpoints.save(done, dataclasses.asdict(at), self._state, self._kept)

    def _seconds_left(self) -> float:
        """Reckons with the pace of this epoch, and with validations like those so far."""
        at = self._at
        steps = self._steps - (at.epoch - 1) * self._steps_per_epoch - at.step
        seen = len(self._source.labels_N)
        validating = [e.seconds - seen / e.images_per_second for e in at.epochs]
        validations = (self._config.epochs - at.epoch + 1) * float(np.mean(validating or 0.0))
        return steps * at.seconds / at.step + validations

    def _state(self) -> Arrays:
        return {**self._learner.state(), **generators.state()}

    def _validated(self) -> Epoch:
        """Scores the validation split, and keeps the weights if they are the best so far."""
        at, began = self._at, time.perf_counter()
        averaged = self._config.best == "ema"
        if averaged:
            self._learner.exchange_average()
        val_loss, val_metric = evaluate(
            self._task, self._learner, self._validation, self._weights_C
        )
        if not math.isfinite(val_loss):
            raise _diverged(self._config, at.epoch, at.step, val_loss)
        epoch = Epoch(
            epoch=at.epoch,
            loss=at.loss_sum / at.seen,
            metric=at.metric_sum / at.seen,
            val_loss=val_loss,
            val_metric=val_metric,
            learning_rate=self._rate(at.epoch * self._updates_per_epoch - 1),
            seconds=at.seconds + time.perf_counter() - began,
            images_per_second=at.seen / at.seconds,
            data_wait=at.waited / at.seconds,
            peak_memory_bytes=peak_memory(),
        )
        if self._config.best != "last" and chosen(self._config, [*at.epochs, epoch]) is epoch:
            self._kept, at.best = self._learner.snapshot(), epoch.epoch
        if averaged:
            self._learner.exchange_average()
        return epoch


class _Waits(Iterator[Batch]):
    """Counts the seconds that it takes to get the next of some batches."""

    def __init__(self, made: Iterator[Batch], seconds: float) -> None:
        self._made = made
        self.seconds = seconds

    def __next__(self) -> Batch:
        began = time.perf_counter()
        try:
            return next(self._made)
        finally:
            self.seconds += time.perf_counter() - began


def peak_memory() -> int:
    """Returns the most bytes of main memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def evaluate(
    task: Task, predictor: Predictor, validation: Validation, weights_C: Floats
) -> tuple[float, float]:
    """Returns the mean loss, weighted by class, and headline metric of a predictor on a split."""
    loss = metric = weight = 0.0
    for images_NHW3, labels_N in validation.chunks(_PREDICT_BATCH):
        weights_N = weights_C[labels_N]
        sums = task.measure(predictor.predict(images_NHW3), labels_N, weights_N)
        loss, metric = loss + sums[0], metric + sums[1]
        weight += float(weights_N.sum(dtype=np.float64))
    return loss / max(weight, 1e-12), metric / len(validation)


def _diverged(
    config: TrainConfig, epoch: int, step: int, loss: float, batch: Batch | None = None
) -> TrainingError:
    images = ""
    if batch is not None and batch.places_N is not None:
        more = ", …" if len(batch.places_N) > _NAMED else ""
        named = ", ".join(map(str, batch.places_N[:_NAMED]))
        images = f"; its batch has the images {named}{more} of the arrays of train, from 0"
    return TrainingError(
        f"The loss became {loss} in epoch {epoch}, step {step}{images}. Expected a finite number. "
        f"Try a lower train.learning_rate (it is {config.learning_rate:g}) "
        "or more train.warmup_epochs."
    )
