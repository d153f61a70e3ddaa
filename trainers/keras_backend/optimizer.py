"""The optimizers of a config, with the arithmetic of `torch.optim` and timm.

Keras places Adam's epsilon before the bias correction, its SGD knows no L2 term, its Muon takes
no convolutions, and none has a rate for each weight, so its optimizers would not give what
PyTorch gives for the same config.  SGD and Adam update a weight in one fused TensorFlow kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from trainers.config import TrainConfig
from trainers.keras_backend.layer_groups import treatments
from trainers.updates import (
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_EPSILON,
    NEWTON_SCHULZ_STEPS,
    Treatment,
    betas,
    muon_scale,
)


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A trainable weight and how it is treated."""

    variable: Any
    how: Treatment

    def rate(self, learning_rate: Any) -> Any:
        return learning_rate if self.how.rate == 1 else self.how.rate * learning_rate

    def with_l2(self, gradient: Any) -> Any:
        return gradient + self.how.decay * self.variable if self.how.decay else gradient

    def shrink(self, rate: Any) -> None:
        """Applies decoupled weight decay."""
        if self.how.decay:
            self.variable.assign_sub(rate * self.how.decay * self.variable)


class Optimizer(ABC):
    """Updates weights, inside a compiled step."""

    def __init__(self, weights: list[Weight]) -> None:
        self._weights = weights
        self.variables: list[Any] = []
        """All that the next step depends on."""

    def _slots(self) -> list[Any]:
        slots = zeros_like([weight.variable for weight in self._weights])
        self.variables += slots
        return slots

    @abstractmethod
    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        """Makes one step; the gradients come in the order of the weights."""


def make(model: Any, config: TrainConfig) -> Optimizer:
    """Makes the optimizer of a config."""
    weights = [
        Weight(variable.value, how)
        for variable, how in zip(model.trainable_variables, treatments(model, config), strict=True)
    ]
    return OPTIMIZERS[config.optimizer](weights, config)


class SGD(Optimizer):
    """Momentum without dampening; the L2 term is part of the gradient."""

    def __init__(self, weights: list[Weight], config: TrainConfig) -> None:
        super().__init__(weights)
        self._momentum, self._nesterov = config.momentum, config.nesterov
        self._velocities = self._slots()

    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        for weight, velocity, gradient in zip(
            self._weights, self._velocities, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyMomentum(
                var=weight.variable.handle,
                accum=velocity.handle,
                lr=weight.rate(learning_rate),
                grad=weight.with_l2(gradient),
                momentum=self._momentum,
                use_nesterov=self._nesterov,
            )


class _Moments(Optimizer):
    """Keeps moving averages of gradients and their squares, as all of Adam's kind do."""

    def __init__(self, weights: list[Weight], config: TrainConfig) -> None:
        super().__init__(weights)
        self._betas, self._epsilon = betas(config), config.epsilon
        self._means, self._squares = self._slots(), self._slots()
        self._powers = [tf.Variable(beta, trainable=False) for beta in self._betas]
        self.variables += self._powers

    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        powers = [power.read_value() for power in self._powers]
        for weight, mean, square, gradient in zip(
            self._weights, self._means, self._squares, gradients, strict=True
        ):
            self._apply(weight, mean, square, gradient, weight.rate(learning_rate), powers)
        for power, beta in zip(self._powers, self._betas, strict=True):
            power.assign(power * beta)

    @abstractmethod
    def _apply(
        self, weight: Weight, mean: Any, square: Any, gradient: Any, rate: Any, powers: list[Any]
    ) -> None: ...


class Adam(_Moments):
    """Kingma and Ba 2015; the L2 term is part of the gradient."""

    def _apply(
        self, weight: Weight, mean: Any, square: Any, gradient: Any, rate: Any, powers: list[Any]
    ) -> None:
        gradient = weight.with_l2(gradient)
        self._move(weight, mean, square, gradient, rate, powers)

    def _move(
        self, weight: Weight, mean: Any, square: Any, gradient: Any, rate: Any, powers: list[Any]
    ) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=weight.variable.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            # The kernel adds epsilon to sqrt(v); PyTorch to sqrt(v / (1 - β₂ᵗ)).
            epsilon=self._epsilon * tf.sqrt(1 - powers[1]),
            grad=gradient,
        )


class AdamW(Adam):
    """Decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch has it."""

    def _apply(
        self, weight: Weight, mean: Any, square: Any, gradient: Any, rate: Any, powers: list[Any]
    ) -> None:
        weight.shrink(rate)
        self._move(weight, mean, square, gradient, rate, powers)


class Lamb(_Moments):
    """You et al. 2020: AdamW's step, as long as its share of the weight's norm."""

    def _apply(
        self, weight: Weight, mean: Any, square: Any, gradient: Any, rate: Any, powers: list[Any]
    ) -> None:
        beta_1, beta_2 = self._betas
        mean.assign_add((1 - beta_1) * (gradient - mean))
        square.assign_add((1 - beta_2) * (tf.square(gradient) - square))
        root = tf.sqrt(square / (1 - powers[1])) + self._epsilon
        step = weight.with_l2(mean / (1 - powers[0]) / root)
        if weight.how.adapts:
            norms = tf.norm(weight.variable), tf.norm(step)
            rate *= tf.where(tf.minimum(*norms) > 0, tf.math.divide_no_nan(*norms), 1.0)
        weight.variable.assign_sub(rate * step)


class Lion(Optimizer):
    """Chen et al. 2023: the sign of a mean gradient alone."""

    def __init__(self, weights: list[Weight], config: TrainConfig) -> None:
        super().__init__(weights)
        self._betas = betas(config)
        self._means = self._slots()

    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        beta_1, beta_2 = self._betas
        for weight, mean, gradient in zip(self._weights, self._means, gradients, strict=True):
            rate = weight.rate(learning_rate)
            weight.shrink(rate)
            step = tf.sign(mean + (1 - beta_1) * (gradient - mean))
            weight.variable.assign_sub(rate * step)
            mean.assign_add((1 - beta_2) * (gradient - mean))


class Muon(Optimizer):
    """Muon for the hidden kernels, AdamW for the rest."""

    def __init__(self, weights: list[Weight], config: TrainConfig) -> None:
        super().__init__([weight for weight in weights if weight.how.is_hidden])
        self._is_hidden = [weight.how.is_hidden for weight in weights]
        self._momentum = config.momentum
        self._buffers = self._slots()
        self._rest = AdamW([weight for weight in weights if not weight.how.is_hidden], config)
        self.variables += self._rest.variables

    def apply(self, gradients: list[Any], learning_rate: Any) -> None:
        split: dict[bool, list[Any]] = {True: [], False: []}
        for is_hidden, gradient in zip(self._is_hidden, gradients, strict=True):
            split[is_hidden].append(gradient)
        self._rest.apply(split[False], learning_rate)
        for weight, buffer, gradient in zip(self._weights, self._buffers, split[True], strict=True):
            rate = weight.rate(learning_rate)
            buffer.assign(self._momentum * buffer + gradient)
            # Of PyTorch's matrix, outputs × inputs, the transpose, with rows in another order.
            # Neither changes what is orthogonal to what.
            matrix = tf.reshape(gradient + self._momentum * buffer, (-1, weight.variable.shape[-1]))
            step = tf.reshape(muon_scale(*matrix.shape) * _orthogonal(matrix), gradient.shape)
            weight.shrink(rate)
            weight.variable.assign_sub(rate * step)


def _orthogonal(matrix: Any) -> Any:
    """The nearest matrix with orthonormal rows or columns, about, by Newton and Schulz."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = tf.transpose(matrix) if is_tall else matrix
    x /= tf.maximum(tf.norm(x), NEWTON_SCHULZ_EPSILON)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * gram + c * tf.matmul(gram, gram), x)
    return tf.transpose(x) if is_tall else x


def zeros_like(weights: list[Any]) -> list[Any]:
    """Makes a variable of zeros for each weight."""
    return [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in weights]


OPTIMIZERS: dict[str, Callable[[list[Weight], TrainConfig], Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "lamb": Lamb,
    "lion": Lion,
    "muon": Muon,
}
