"""What becomes of gradients, as far as every framework has to agree on it."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass

from common.config.ranges import require
from trainers.config import TrainConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024)."""
NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ_EPSILON = 1e-7
CLIP_EPSILON = 1e-6
"""Added to the norm that clipping divides by, as PyTorch does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How the optimizer treats one trainable weight."""

    rate: float
    """The step's learning rate is multiplied by it."""
    decay: float
    """Weight decay; 0 for biases and for scales and offsets of norms."""
    adapts: bool
    """LAMB measures its step by the weight's norm: where weights could decay."""
    is_hidden: bool
    """Muon makes its steps orthogonal."""


def require_trainable(weights: Sized, config: TrainConfig) -> None:
    """Raises ConfigError for a model that has none."""
    require(
        len(weights) > 0,
        f"model: expected {config.model} to have weights that can be trained, got none. "
        "Leave some of its layers trainable.",
    )


def treatment(
    config: TrainConfig, *, dimensions: int, is_kernel: bool, layer: int, last: int
) -> Treatment:
    """Decides how a weight is treated.

    Args:
      dimensions: of the weight.
      is_kernel: it is the matrix of a dense layer or the kernel of an ungrouped convolution.
      layer: the group of layers that it belongs to, from 0 at the images to `last`, the head.
    """
    return Treatment(
        rate=config.layer_decay ** (last - layer),
        decay=config.weight_decay if dimensions > 1 else 0.0,
        adapts=dimensions > 1,
        is_hidden=config.optimizer == "muon" and is_kernel and 0 < layer < last,
    )


def needs_layers(config: TrainConfig) -> bool:
    """Says whether a treatment depends on the group of layers."""
    return config.layer_decay != 1 or config.optimizer == "muon"


def betas(config: TrainConfig) -> tuple[float, float]:
    """Returns the decay rates of the gradients' first and second moving average."""
    default = 0.99 if config.optimizer == "lion" else 0.999
    return config.beta_1, default if config.beta_2 is None else config.beta_2


def muon_scale(rows: int, columns: int) -> float:
    """Returns the factor that makes an orthogonal step as large as one of AdamW.

    Liu et al., "Muon is Scalable for LLM Training" (2025), so that one learning rate and one
    weight decay serve all weights of a model.
    """
    return 0.2 * math.sqrt(max(rows, columns))


def average_decay(ema_decay: float, steps: int) -> float:
    """Returns how much of the moving average stays in the step of this number, from 1.

    It starts low, as TensorFlow's ExponentialMovingAverage has it, so that the average soon
    forgets the fresh weights.
    """
    return min(ema_decay, (1 + steps) / (10 + steps))
