"""What a training run can be told; the Trainer's one JSON property.

The same config drives every backend, and every value has the same meaning in
each of them (see docs/training.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from common.config.ranges import require
from trainers.frameworks import get_framework


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Random changes to training images (`trainers.augment` draws them)."""

    horizontal_flip: bool = True
    crop_padding: float = 0.125
    """Random shift, as a padded random crop: fraction of the image size."""
    rotation: float = 0.0
    """Largest rotation either way, in degrees."""
    zoom: float = 0.0
    """Largest relative zoom either way: 0.1 draws scales from 0.9 to 1.1."""
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    """Largest relative colour changes: 0.2 draws factors from 0.8 to 1.2."""

    def __post_init__(self) -> None:
        for name, top in (("crop_padding", 0.5), ("zoom", 0.9), ("rotation", 180.0)):
            value = getattr(self, name)
            require(0 <= value <= top, f"{name}: expected 0 to {top:g}, got {value!r}.")
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name}: expected 0 to 1, got {value!r}.")

    @property
    def enabled(self) -> bool:
        magnitudes = (self.crop_padding, self.rotation, self.zoom)
        colours = (self.brightness, self.contrast, self.saturation)
        return self.horizontal_flip or any((*magnitudes, *colours))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How one model is trained."""

    task: Literal["classification"] = "classification"
    """What is told of an image; classification: exactly one class."""
    framework: str
    """"keras", "pytorch" or another that `visionline models` lists."""
    model: str
    """A name that `visionline models` lists, or "package.module:function"."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments handed to the model's builder."""
    pretrained: str | None = None
    """Local weights to start from; nothing is ever downloaded."""
    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    """Peak of the cosine schedule."""
    warmup_epochs: float = 1.0
    """Epochs of linear warm-up, capped at a fifth of the training."""
    weight_decay: float = 1e-4
    """Decoupled for adamw, L2 for sgd; never on biases and norm parameters."""
    momentum: float = 0.9
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    """"balanced": images / (classes × images of the class), or one per class."""
    early_stopping_patience: int = 0
    """Epochs without a better validation loss before training stops; 0: off.
    The weights of the best epoch are kept in either case."""
    golden: Literal["drawn", "validation"] = "drawn"
    """The images in golden.npz, which every pushed version carries wherever it goes:
    drawn ones, or the first of the validation split, on purpose."""
    seed: int = 0
    threads: int = 0
    """CPU threads of the training process; 0: all it may use."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        get_framework(self.framework)  # raises ConfigError where there is none of that name
        require(bool(self.model), "model: expected a model's name, got ''.")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            require(value >= 1, f"{name}: expected 1 or more, got {value!r}.")
        for name in ("warmup_epochs", "weight_decay", "early_stopping_patience", "threads", "seed"):
            value = getattr(self, name)
            require(
                math.isfinite(value) and value >= 0, f"{name}: expected 0 or more, got {value!r}."
            )
        require(self.seed < 2**32, f"seed: expected less than 2**32, got {self.seed!r}.")
        require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"learning_rate: expected more than 0, got {self.learning_rate!r}.",
        )
        require(0 <= self.momentum < 1, f"momentum: expected 0 to 1, got {self.momentum!r}.")
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing: expected 0 to 1, got {self.label_smoothing!r}.",
        )
        if isinstance(self.class_weights, dict):
            for name, weight in self.class_weights.items():
                require(
                    math.isfinite(weight) and weight >= 0,
                    f"class_weights.{name}: expected 0 or more, got {weight!r}.",
                )
