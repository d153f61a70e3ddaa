"""An `Evaluation` from what TensorFlow Model Analysis wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tensorflow_model_analysis as tfma

from components.evaluator.result import (
    Bin,
    ClassMetrics,
    Evaluation,
    Interval,
    Matrix,
    SliceMetrics,
    wilson,
)
from components.evaluator.verdict import BASELINE, EXAMPLES, FailedThreshold
from modelstore.baseline import Baseline
from modelstore.tasks.contract import Task

Slice = tuple[tuple[str, str], ...]


def evaluation_of(
    directory: Path, task: Task, class_names: Sequence[str], compared: Baseline
) -> Evaluation:
    """Reads TFMA's files in `directory`.

    Args:
      class_names: in the order of the scores.
      compared: what the model was compared with.
    """
    metrics = _metrics(directory)
    overall = metrics[()]
    confusion, calibration = _plots(directory, len(class_names))
    baseline = overall.get((BASELINE, task.HEADLINE))
    return Evaluation(
        **_judged(directory, metrics, compared),
        headline=task.HEADLINE,
        metrics=_of_task(task, overall),
        interval=_interval(task, overall),
        baseline_value=baseline,
        examples=int(overall[EXAMPLES]),
        expected_calibration_error=_calibration_error(calibration),
        calibration=calibration,
        classes=tuple(_classes(confusion, class_names)),
        slices=tuple(
            SliceMetrics(
                feature=key[0][0],
                value=key[0][1],
                examples=int(values[EXAMPLES]),
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
    return wilson(values[headline.name], values[EXAMPLES])


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


def _judged(
    directory: Path, metrics: Mapping[Slice, Mapping[Any, float]], compared: Baseline
) -> dict[str, Any]:
    """Reads the part of an `Evaluation` that says why a model is not blessed, if so."""
    validation = tfma.load_validation_result(str(directory))
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
