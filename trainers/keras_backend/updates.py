"""What becomes of the gradients of a batch: a step of the optimizer and of the average."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainers.config import TrainConfig
from trainers.keras_backend import optimizer
from trainers.updates import CLIP_EPSILON, require_trainable


class Updates:
    """Adds gradients up, and makes a step of them: clipping, optimizer, moving average."""

    def __init__(self, model: Any, config: TrainConfig) -> None:
        self.trainable = [weight.value for weight in model.trainable_variables]
        require_trainable(self.trainable, config)
        self.optimizer = optimizer.make(model, config)
        self.average = Average(model) if config.ema_decay else None
        self.accumulates = config.accumulate_steps > 1
        self._clip_norm = config.clip_norm
        self._sums: list[Any] = []
        if self.accumulates:
            self._sums = optimizer.zeros_like(self.trainable)
            self._weight = tf.Variable(0.0, trainable=False)

    @property
    def variables(self) -> list[Any]:
        """All that the next step depends on, where no gradients are added up."""
        return [*self.optimizer.variables, *(self.average.variables if self.average else ())]

    def add(self, gradients: list[Any], weight: Any) -> None:
        """Adds the gradients of a batch, of the weighted sum of its losses.

        Args:
          weight: the sum of the weights of its images.
        """
        self._weight.assign_add(weight)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)

    def step_added(self, learning_rate: Any, kept: Any) -> None:
        """Makes one step of all gradients that were added since the last."""
        weight = self._weight.read_value()
        gradients = [tf.math.divide_no_nan(total, weight) for total in self._sums]
        self.step(gradients, learning_rate, kept)
        for total in (*self._sums, self._weight):
            total.assign(tf.zeros_like(total))

    def step(self, gradients: list[Any], learning_rate: Any, kept: Any) -> None:
        """Makes one step.

        Args:
          kept: how much of the moving average stays.
        """
        if self._clip_norm:
            norm = tf.linalg.global_norm(gradients)
            scale = tf.minimum(1.0, self._clip_norm / (norm + CLIP_EPSILON))
            gradients = [scale * gradient for gradient in gradients]
        self.optimizer.apply(gradients, learning_rate)
        if self.average is not None:
            self.average.step(kept)


class Average:
    """The exponential moving average of a model's weights and running statistics."""

    def __init__(self, model: Any) -> None:
        values = (weight.value for weight in model.weights)
        self._weights = [value for value in values if value.dtype.is_floating]
        self.variables = [tf.Variable(value, trainable=False) for value in self._weights]

    def step(self, kept: Any) -> None:
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.assign_sub((1 - kept) * (average - weight))

    def exchange(self) -> None:
        """Puts the average where the weights are, and the weights where it was."""
        for average, weight in zip(self.variables, self._weights, strict=True):
            before = tf.identity(weight)
            weight.assign(average)
            average.assign(before)
