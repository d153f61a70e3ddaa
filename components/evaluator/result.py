"""What the Evaluator found, read back from its artifact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import tensorflow_model_analysis as tfma

from common.config.strict import parse
from common.files import read_json
from components.evaluator.verdict import BASELINE, FailedThreshold
from modelstore.artifact import ModelCard
from modelstore.baseline import BASELINE_FILE, Baseline
from modelstore.tasks import task_of
from modelstore.tasks.contract import Task

Slice = tuple[tuple[str, str], ...]
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
    """What the Evaluator found, read back from its artifact."""

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


def read_evaluation(directory: Path, card: ModelCard) -> Evaluation:
    """Reads the ModelEvaluation artifact in `directory`; `card` is the model's."""
    task = task_of(card.config)
    metrics = _metrics(directory)
    overall = metrics[()]
    confusion, calibration = _plots(directory, len(card.class_names))
    baseline = overall.get((BASELINE, task.HEADLINE))
    return Evaluation(
        **_judged(directory, metrics),
        headline=task.HEADLINE,
        metrics=_of_task(task, overall),
        interval=_interval(task, overall),
        baseline_value=baseline,
        examples=int(overall["example_count"]),
        expected_calibration_error=_calibration_error(calibration),
        calibration=calibration,
        classes=tuple(_classes(confusion, card.class_names)),
        slices=tuple(
            SliceMetrics(
                feature=key[0][0],
                value=key[0][1],
                examples=int(values["example_count"]),
                metrics=_of_task(task, values),
                interval=_interval(task, values),
            )
            for key, values in sorted(metrics.items())
            if key
        ),
        confusion=confusion,
    )


def _metrics(directory: Path) -> dict[Slice, dict[Any, float]]:
    """Reads what was computed, by slice and name."""
    return {
        _slice(of_slice.slice_key): _by_name(of_slice.metric_keys_and_values)
        for of_slice in tfma.load_metrics(str(directory))
    }


def _of_task(task: Task, values: Mapping[Any, float]) -> dict[str, float]:
    return {metric.name: values[metric.name] for metric in task.METRICS}


def _interval(task: Task, values: Mapping[Any, float]) -> Interval | None:
    """Returns the headline's, where it is a share of the images."""
    headline = task.METRICS[0]
    if not headline.is_share:
        return None
    return wilson(values[headline.name], values["example_count"])


def wilson(share: float, count: float) -> Interval:
    """Returns the 95 % score interval of a share (Wilson, 1927), which stays within 0 and 1."""
    z = NormalDist().inv_cdf(0.975)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _slice(key: Any) -> Slice:
    def text(single: Any) -> str:
        value = getattr(single, single.WhichOneof("kind"))
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    return tuple((single.column, text(single)) for single in key.single_slice_keys)


def _by_name(pairs: Iterable[Any]) -> dict[Any, float]:
    """Returns values by name; those of the baseline by (BASELINE, name)."""
    values: dict[Any, float] = {}
    for pair in pairs:
        if pair.key.is_diff or pair.value.WhichOneof("type") != "double_value":
            continue
        name = pair.key.name
        key = (BASELINE, name) if pair.key.model_name == BASELINE else name
        values[key] = pair.value.double_value.value
    return values


def _plots(directory: Path, classes: int) -> tuple[Matrix, tuple[Bin, ...]]:
    """Reads the confusion matrix and the calibration bins of the candidate, over all examples."""
    confusion = [[0] * classes for _ in range(classes)]
    calibration = []
    for plot in tfma.load_plots(str(directory)):
        if plot.slice_key.single_slice_keys:
            continue
        for pair in plot.plot_keys_and_values:
            if pair.key.model_name == BASELINE:
                continue
            for matrix in pair.value.multi_class_confusion_matrix_at_thresholds.matrices:
                for e in matrix.entries:
                    row = confusion[e.actual_class_id]
                    row[e.predicted_class_id] = int(e.num_weighted_examples)
            for b in pair.value.calibration_histogram_buckets.buckets:
                weight = b.num_weighted_examples.value
                if weight:
                    scores, labels = b.total_weighted_refined_prediction, b.total_weighted_label
                    calibration.append((scores.value / weight, labels.value / weight, weight))
    return tuple(map(tuple, confusion)), tuple(calibration)


def _calibration_error(bins: Sequence[Bin]) -> float:
    total = sum(weight for _, _, weight in bins)
    return sum(w * abs(score - frequency) for score, frequency, w in bins) / total


def _classes(confusion: Matrix, class_names: Sequence[str]) -> Iterable[ClassMetrics]:
    for index, name in enumerate(class_names):
        hits = confusion[index][index]
        examples = sum(confusion[index])
        predicted = sum(row[index] for row in confusion)
        yield ClassMetrics(
            name=name,
            examples=examples,
            precision=hits / predicted if predicted else None,
            recall=hits / examples if examples else None,
        )


def read_failures(directory: Path) -> tuple[str, ...]:
    """Reads why a model is not blessed, in words; the same as an `Evaluation` has.

    Args:
      directory: the ModelEvaluation artifact.
    """
    failures: tuple[str, ...] = _judged(directory, _metrics(directory))["failures"]
    return failures


def _judged(directory: Path, metrics: Mapping[Slice, Mapping[Any, float]]) -> dict[str, Any]:
    """Reads the part of an `Evaluation` that says why a model is not blessed, if so."""
    validation = tfma.load_validation_result(str(directory))
    compared = parse(Baseline, read_json(directory / BASELINE_FILE))
    failed = [
        _failure(failure, key, metrics.get(key, {}))
        for of_slice in validation.metric_validations_per_slice
        for key in [_slice(of_slice.slice_key)]
        for failure in of_slice.failures
    ]
    failed.sort(key=lambda f: sorted(f.slice.items()))
    failures = [*map(str, failed)]
    if validation.missing_thresholds:
        failures.append("no threshold was checked, so there is no verdict")
    if validation.missing_slices:
        failures.append("no image was evaluated in a slice that has a threshold")
    usable = compared.state != "unusable"
    if not usable:
        failures.append(compared.why)
    return {
        "blessed": validation.validation_ok and usable,
        "failures": tuple(failures),
        "failed": tuple(failed),
        "baseline": compared,
    }


def _failure(failure: Any, key: Slice, values: Mapping[Any, float]) -> FailedThreshold:
    metric = failure.metric_key.name
    value = failure.metric_value.double_value.value
    kind: Literal["min", "regression"] = "min"
    baseline = None
    if failure.metric_key.is_diff:
        kind, baseline = "regression", values[BASELINE, metric]
        value += baseline
        threshold = -failure.metric_threshold.change_threshold.absolute.value
        bound = baseline - threshold
    else:
        threshold = bound = failure.metric_threshold.value_threshold.lower_bound.value
    has_value = failure.HasField("metric_value") and not math.isnan(value)
    return FailedThreshold(
        metric=metric,
        slice=dict(key),
        kind=kind,
        threshold=threshold,
        actual=value if has_value else None,
        baseline=baseline,
        shortfall=bound - value if has_value else None,
    )
