"""When a model is good enough to be pushed, and what it missed when it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from common.config.ranges import at_least, more_than
from common.config.strict import Checked

BASELINE = "baseline"
"""The Evaluator's name for what the candidate is compared with."""
EXAMPLES = "example_count"
"""The metric that counts the images of a slice."""
WHY_NOT_FILE = "why_not_blessed.json"
"""In the Evaluator's artifact, for those that have no use for TensorFlow Model Analysis."""
LABEL = "label"
"""The feature whose slices are the classes."""
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig(Checked):
    """When a model is good enough to be pushed."""

    min_accuracy: Annotated[float, more_than(0, at_most=1)]
    """A model with less accuracy on the evaluation split is not pushed. There is no default: only
    you know what is good enough."""
    min_class_accuracy: Annotated[float, more_than(0, at_most=1)] | None = None
    """On each class of the evaluation split; None: not asked for."""
    max_regression: Annotated[float, at_least(0, below=1)] = 0.01
    """How much accuracy may be lost against the model that is served under this name."""
    baseline: Literal["required", "none"] = "required"
    """required: where a model is served that cannot be compared with (its files are not
    whole, its classes are others), nothing is pushed; none: no comparison."""
    top_k: Annotated[int, at_least(1)] = 5
    """The k of the top-k accuracy that is reported."""
    slices: tuple[str, ...] = ()
    """Extra manifest columns to report on, besides the class."""


def too_fine(
    config: EvaluateConfig, by_class: Mapping[str, int], *, compared: bool = True
) -> list[str]:
    """Names the thresholds that a single image decides about, in words.

    Args:
      by_class: images of the evaluation split by class.
      compared: whether there is a model to lose accuracy against.
    """
    images = sum(by_class.values())
    if not images:
        return []
    notes = []
    one = f"one of the {images} held-out images is {1 / images:.4f} of the accuracy"
    if compared and 0 < config.max_regression < 1 / images:
        notes.append(
            f"max_regression {config.max_regression:g} is finer than one image can tell: {one}, "
            "so a single one more that is wrong than before is too much."
        )
    if _all_right(config.min_accuracy, images):
        notes.append(
            f"min_accuracy {config.min_accuracy:g} is finer than one image can tell: {one}, "
            "so not a single one may be wrong."
        )
    least = config.min_class_accuracy
    small = [n for n, k in by_class.items() if least is not None and _all_right(least, k)]
    if small:
        listed = ", ".join(f"{name!r} ({by_class[name]})" for name in small[:_LISTED])
        more = f" and {len(small) - _LISTED} more" if len(small) > _LISTED else ""
        notes.append(
            f"min_class_accuracy {least:g} is finer than one image can tell where a class has "
            f"few held-out images, so not a single one may be wrong of: {listed}{more}."
        )
    return notes


def _all_right(least: float, images: int) -> bool:
    """Says whether one wrong image is too much, though the threshold is below 1."""
    return images > 0 and (images - 1) / images < least < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedThreshold:
    """One threshold that a model did not meet."""

    metric: str
    slice: dict[str, str]
    """Value by feature, such as {"label": "7"} for a class; empty for all images."""
    kind: Literal["min", "regression"]
    """min: a least value.  regression: a largest loss against the baseline."""
    threshold: float
    """The least value, or the largest loss."""
    actual: float | None
    """The model's value; None where there is none, as of a class without images."""
    baseline: float | None
    """The baseline's value, for a regression."""
    shortfall: float | None
    """By how much the threshold was missed."""

    @property
    def where(self) -> str:
        """Names the slice, in words."""
        parts = [
            f"class {value!r}" if feature == LABEL else f"{feature} {value!r}"
            for feature, value in self.slice.items()
        ]
        return " and ".join(parts) or "all images"

    def __str__(self) -> str:
        of = f"{self.metric} on {self.where}"
        lost = f"at most {self.threshold:.4f} may be lost"
        if self.actual is None or self.shortfall is None:
            least = f"the least allowed is {self.threshold:.4f}"
            return f"{of} has no value; {least if self.kind == 'min' else lost}"
        if self.baseline is None:
            return (
                f"{of} is {self.actual:.4f}, {self.shortfall:.4f} below "
                f"the least allowed {self.threshold:.4f}"
            )
        change = self.actual - self.baseline
        return f"{of} changed by {change:+.4f} against the model pushed before; {lost}"
