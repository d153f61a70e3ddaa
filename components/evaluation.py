"""When a model is good enough to be pushed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainers.config import require


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """When a model is good enough to be pushed."""

    min_accuracy: float
    """On the evaluation split; there is no default: only you know what is good enough."""
    min_class_accuracy: float | None = None
    """On each class of the evaluation split; None: not asked for."""
    max_regression: float = 0.01
    """How much accuracy may be lost against the model last pushed under this name."""
    top_k: int = 5
    slices: tuple[str, ...] = ()
    """Extra manifest columns to report on, besides the class."""
    confidence_intervals: bool = True
    """95 % intervals by jackknife (costs time: 20 partial evaluations)."""

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.min_accuracy) and 0 < self.min_accuracy <= 1,
            f"min_accuracy: expected more than 0 and at most 1, got {self.min_accuracy!r}.",
        )
        require(
            self.min_class_accuracy is None or 0 < self.min_class_accuracy <= 1,
            "min_class_accuracy: expected more than 0 and at most 1, "
            f"got {self.min_class_accuracy!r}.",
        )
        require(
            0 <= self.max_regression < 1,
            f"max_regression: expected 0 to 1, got {self.max_regression!r}.",
        )
        require(self.top_k >= 1, f"top_k: expected 1 or more, got {self.top_k!r}.")
