"""What the loop, the Evaluator and the server must know of a task.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of an evaluation."""

    name: str
    of_each: Callable[..., npt.NDArray[Any]]
    """From scores [N, C], labels [N] and `settings` the value of each image, [N]; the metric is
    their mean."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further arguments by name: the fields of `EvaluateConfig` that have the values."""
    is_share: bool = False
    """Whether it lies between 0 and 1."""


class Task(Protocol):
    NAME: str
    HEADLINE: str
    """The metric that a model is judged by: thresholds are of it, the larger the better."""
    METRICS: tuple[Metric, ...]
    """What the Evaluator computes over all images and slices, the headline first."""
    PLOTS: tuple[str, ...]
    """What it computes besides: classes of `components.evaluator.measures`."""
    ANSWERS: int
    """How many labels an answer has, where nobody asks for another number."""

    def measure(
        self,
        scores_NC: npt.NDArray[np.float32],
        labels_N: npt.NDArray[np.int64],
        weights_N: npt.NDArray[np.float32],
    ) -> tuple[float, float]:
        """Loss, weighted, and headline metric of predictions, each summed over the images."""
        ...

    def answer(
        self, scores_C: Sequence[float], class_names: Sequence[str], count: int
    ) -> list[tuple[str, float]]:
        """Returns what a client is told of one image: labels with their scores."""
        ...
