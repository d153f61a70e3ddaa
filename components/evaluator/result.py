"""What the Evaluator found, read back from its artifact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    calibration: tuple[tuple[float, float, float], ...]
    """Bins as (mean score, frequency, weight)."""
    classes: tuple[ClassMetrics, ...]
    slices: tuple[SliceMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Examples by true class (row) and predicted class (column)."""


def read_evaluation(directory: Path, card: ModelCard) -> Evaluation:
    """Reads the Evaluator's output.

    Args:
      directory: the ModelEvaluation artifact.
      card: of the model.
    """
    task = task_of(card.config)
    metrics = _metrics(directory)
    overall = metrics[()]
    confusion, calibration = _plots(directory, len(card.class_names))
    validation = tfma.load_validation_result(str(directory))
    failed = _in_order(validation, metrics)
    compared = parse(Baseline, read_json(directory / BASELINE_FILE))
    baseline = overall.get((BASELINE, task.HEADLINE))
    return Evaluation(
        blessed=validation.validation_ok and compared.state != "unusable",
        failures=_in_words(failed, validation, compared),
        failed=failed,
        headline=task.HEADLINE,
        metrics=_of_task(task, overall),
        interval=_interval(task, overall),
        baseline=compared,
        baseline_value=baseline.value if baseline else None,
        examples=int(overall["example_count"].value),
        expected_calibration_error=_calibration_error(calibration),
        calibration=calibration,
        classes=tuple(_classes(confusion, card.class_names)),
        slices=tuple(
            SliceMetrics(
                feature=key[0][0],
                value=key[0][1],
                examples=int(found["example_count"].value),
                metrics=_of_task(task, found),
                interval=_interval(task, found),
            )
            for key, found in sorted(metrics.items())
            if key
        ),
        confusion=confusion,
    )


@dataclass(frozen=True, slots=True)
class _Value:
    value: float
    interval: Interval | None


def _metrics(directory: Path) -> dict[Slice, dict[Any, _Value]]:
    """What was computed, by slice and name."""
    return {
        _slice(of_slice.slice_key): _by_name(of_slice.metric_keys_and_values)
        for of_slice in tfma.load_metrics(str(directory))
    }


def _of_task(task: Task, values: Mapping[Any, _Value]) -> dict[str, float]:
    return {metric.name: values[metric.name].value for metric in task.METRICS}


def _interval(task: Task, values: Mapping[Any, _Value]) -> Interval | None:
    """Of the headline.  The jackknife assumes a normal distribution, which knows no bounds."""
    headline = task.METRICS[0]
    interval = values[headline.name].interval
    if interval is None or not headline.is_share:
        return interval
    return max(interval[0], 0.0), min(interval[1], 1.0)


def _slice(key: Any) -> Slice:
    def text(single: Any) -> str:
        value = getattr(single, single.WhichOneof("kind"))
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    return tuple((single.column, text(single)) for single in key.single_slice_keys)


def _by_name(pairs: Iterable[Any]) -> dict[Any, _Value]:
    """Values by name; those of the baseline by (BASELINE, name)."""
    found: dict[Any, _Value] = {}
    for pair in pairs:
        if pair.key.is_diff or pair.value.WhichOneof("type") != "double_value":
            continue
        name = pair.key.name
        interval = None
        if pair.HasField("confidence_interval"):
            low = pair.confidence_interval.lower_bound.double_value.value
            high = pair.confidence_interval.upper_bound.double_value.value
            interval = (low, high)
        key = (BASELINE, name) if pair.key.model_name == BASELINE else name
        found[key] = _Value(pair.value.double_value.value, interval)
    return found


def _plots(
    directory: Path, classes: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, float, float], ...]]:
    """The confusion matrix and the calibration bins of the candidate, over all examples."""
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
                    confusion[e.actual_class_id][e.predicted_class_id] = int(
                        e.num_weighted_examples
                    )
            for b in pair.value.calibration_histogram_buckets.buckets:
                weight = b.num_weighted_examples.value
                if weight:
                    scores, labels = b.total_weighted_refined_prediction, b.total_weighted_label
                    calibration.append((scores.value / weight, labels.value / weight, weight))
    return tuple(map(tuple, confusion)), tuple(calibration)


def _calibration_error(bins: Sequence[tuple[float, float, float]]) -> float:
    total = sum(weight for _, _, weight in bins)
    return sum(w * abs(score - frequency) for score, frequency, w in bins) / total


def _classes(
    confusion: Sequence[Sequence[int]], class_names: Sequence[str]
) -> Iterable[ClassMetrics]:
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
    validation = tfma.load_validation_result(str(directory))
    compared = parse(Baseline, read_json(directory / BASELINE_FILE))
    return _in_words(_in_order(validation, _metrics(directory)), validation, compared)


def _in_order(
    validation: Any, metrics: Mapping[Slice, Mapping[Any, _Value]]
) -> tuple[FailedThreshold, ...]:
    return tuple(sorted(_failed(validation, metrics), key=lambda f: sorted(f.slice.items())))


def _in_words(
    failed: Iterable[FailedThreshold], validation: Any, compared: Baseline
) -> tuple[str, ...]:
    unusable = [compared.why] if compared.state == "unusable" else []
    return (*map(str, failed), *_unchecked(validation), *unusable)


def _failed(
    validation: Any, metrics: Mapping[Slice, Mapping[Any, _Value]]
) -> Iterable[FailedThreshold]:
    for of_slice in validation.metric_validations_per_slice:
        key = _slice(of_slice.slice_key)
        for failure in of_slice.failures:
            yield _failure(failure, key, metrics.get(key, {}))


def _failure(failure: Any, key: Slice, found: Mapping[Any, _Value]) -> FailedThreshold:
    metric = failure.metric_key.name
    value = failure.metric_value.double_value.value
    kind: Literal["min", "regression"] = "min"
    baseline = None
    if failure.metric_key.is_diff:
        kind, baseline = "regression", found[BASELINE, metric].value
        value += baseline
        threshold = -failure.metric_threshold.change_threshold.absolute.value
        bound = baseline - threshold
    else:
        threshold = bound = failure.metric_threshold.value_threshold.lower_bound.value
    known = failure.HasField("metric_value") and not math.isnan(value)
    return FailedThreshold(
        metric=metric,
        slice=dict(key),
        kind=kind,
        threshold=threshold,
        actual=value if known else None,
        baseline=baseline,
        shortfall=bound - value if known else None,
    )


def _unchecked(validation: Any) -> Iterable[str]:
    if validation.missing_thresholds:
        yield "no threshold was checked, so there is no verdict"
    if validation.missing_slices:
        yield "no image was evaluated in a slice that has a threshold"
