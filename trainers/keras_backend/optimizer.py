"""AdamW and SGD with the arithmetic of `torch.optim`.

Keras places Adam's epsilon before the bias correction and its SGD knows no
L2 term, so its optimizers would not give what PyTorch gives for the same
config.  One fused TensorFlow kernel updates each weight.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainers.config import TrainConfig

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def make(config: TrainConfig, weights: list[Any]) -> SGD | AdamW:
    """Makes the optimizer of a config; its `apply` takes gradients in the order of the weights."""
    if config.optimizer == "adamw":
        return AdamW(weights, config.weight_decay)
    return SGD(weights, config.momentum, config.weight_decay)


def _decays(weight: Any) -> bool:
    """Says whether a weight decays: biases, scales and offsets of norms do not."""
    return len(weight.shape) > 1


class SGD:
    """Momentum without dampening; the L2 term is part of the gradient."""

    def __init__(self, weights: list[Any], momentum: float, weight_decay: float) -> None:
        self._weights = weights
        self._momentum = momentum
        self._decay = weight_decay
        self._velocities = _zeros_like(weights)
        self.variables = self._velocities

    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        for weight, velocity, gradient in zip(
            self._weights, self._velocities, gradients, strict=True
        ):
            if self._decay and _decays(weight):
                gradient += self._decay * weight
            tf.raw_ops.ResourceApplyMomentum(
                var=weight.handle,
                accum=velocity.handle,
                lr=learning_rate,
                grad=gradient,
                momentum=self._momentum,
            )


class AdamW:
    """Decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch has it."""

    def __init__(self, weights: list[Any], weight_decay: float) -> None:
        self._weights = weights
        self._decay = weight_decay
        self._means = _zeros_like(weights)
        self._squares = _zeros_like(weights)
        self._beta_powers = [tf.Variable(beta, trainable=False) for beta in (BETA_1, BETA_2)]
        self.variables = [*self._means, *self._squares, *self._beta_powers]

    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        power_1, power_2 = (power.read_value() for power in self._beta_powers)
        # The kernel adds epsilon to sqrt(v); PyTorch to sqrt(v / (1 - β₂ᵗ)).
        epsilon = EPSILON * tf.sqrt(1 - power_2)
        for weight, mean, square, gradient in zip(
            self._weights, self._means, self._squares, gradients, strict=True
        ):
            if self._decay and _decays(weight):
                weight.assign_sub(learning_rate * self._decay * weight)
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=power_1,
                beta2_power=power_2,
                lr=learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=epsilon,
                grad=gradient,
            )
        for power, beta in zip(self._beta_powers, (BETA_1, BETA_2), strict=True):
            power.assign(power * beta)


def _zeros_like(weights: list[Any]) -> list[Any]:
    return [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in weights]
