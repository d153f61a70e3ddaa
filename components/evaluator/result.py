"""What the Evaluator found, and how its artifact tells it: without TensorFlow Model Analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from common.config.strict import dump, parse
from common.errors import DataError
from common.files import read_json, write_json
from components.evaluator.verdict import FailedThreshold
from modelstore.baseline import Baseline

_FILE = "evaluation.json"
Interval = tuple[float, float]
Bin = tuple[float, float, float]
Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """One class of the evaluation split."""

    name: str
    examples: int
    precision: float | None
    """None where the class was never predicted."""
    recall: float | None
    """None where the split has no example of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceMetrics:
    """One slice, such as ("site", "north")."""

    feature: str
    value: str
    examples: int
    metrics: dict[str, float]
    """As of an `Evaluation`."""
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the Evaluator found."""

    blessed: bool
    failures: tuple[str, ...]
    """Why it is not blessed, in words."""
    failed: tuple[FailedThreshold, ...]
    """The thresholds that were not met."""
    headline: str
    """The metric that it is judged by."""
    metrics: dict[str, float]
    """By name, see `modelstore.tasks`; of all images."""
    interval: Interval | None
    """95 %, of the headline."""
    baseline: Baseline
    """What it was compared with, or why with nothing."""
    baseline_value: float | None
    """The baseline's headline."""
    examples: int
    expected_calibration_error: float
    """Of all class scores: sum over bins of share × |mean score - frequency|
    (Naeini et al., 2015)."""
    calibration: tuple[Bin, ...]
    """Bins as (mean score, frequency, weight)."""
    classes: tuple[ClassMetrics, ...]
    slices: tuple[SliceMetrics, ...]
    confusion: Matrix
    """Examples by true class (row) and predicted class (column)."""


def write_evaluation(directory: Path, evaluation: Evaluation) -> None:
    """Writes it to the ModelEvaluation artifact in `directory`, beside TFMA's own files."""
    write_json(directory / _FILE, dump(evaluation))


def read_evaluation(directory: Path) -> Evaluation:
    """Reads the ModelEvaluation artifact in `directory`.

    Raises:
      DataError: it was made by an older visionline, or is not whole.
    """
    try:
        return parse(Evaluation, read_json(directory / _FILE))
    except (OSError, ValueError) as e:
        raise DataError(
            f"{directory / _FILE} cannot be read: {e}. Run the pipeline again."
        ) from None


def wilson(share: float, count: float) -> Interval:
    """Returns the 95 % score interval of a share (Wilson, 1927), which stays within 0 and 1."""
    z = NormalDist().inv_cdf(0.975)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(middle - half, 0.0), min(middle + half, 1.0)
