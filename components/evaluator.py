"""The verdict: a config for TFX's own, unmodified Evaluator, and its results read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation import EvaluateConfig
from trainers.savedmodel import LABEL_ID, SCORES, SIGNATURE_EXAMPLES, SIGNATURE_LABELS

ACCURACY = "accuracy"
CANDIDATE = "candidate"
BASELINE = "baseline"
LABEL = "label"


def eval_config(config: EvaluateConfig) -> tfma.EvalConfig:
    """TFMA's configuration: metrics, slices, thresholds.

    The label comes from each model's own `transform_features`, so candidate
    and baseline may number the classes differently.
    """
    accuracy = tfma.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        config=f'{{"name": "{ACCURACY}"}}',
        threshold=tfma.MetricThreshold(
            value_threshold=tfma.GenericValueThreshold(
                lower_bound=DoubleValue(value=config.min_accuracy)
            ),
            change_threshold=tfma.GenericChangeThreshold(
                direction=tfma.MetricDirection.HIGHER_IS_BETTER,
                absolute=DoubleValue(value=-config.max_regression),
            ),
        ),
    )
    metrics = [
        accuracy,
        tfma.MetricConfig(class_name="ExampleCount"),
        tfma.MetricConfig(class_name="SparseCategoricalCrossentropy", config='{"name": "loss"}'),
        tfma.MetricConfig(
            class_name="SparseTopKCategoricalAccuracy",
            config=f'{{"name": "top_{config.top_k}_accuracy", "k": {config.top_k}}}',
        ),
        tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
    ]
    slicing = [
        tfma.SlicingSpec(),
        *(tfma.SlicingSpec(feature_keys=[key]) for key in (LABEL, *config.slices)),
    ]
    return tfma.EvalConfig(
        model_specs=[_model_spec(CANDIDATE), _model_spec(BASELINE, is_baseline=True)],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
        slicing_specs=slicing,
        options=config_pb2.Options(
            compute_confidence_intervals=BoolValue(value=config.confidence_intervals),
            confidence_intervals=config_pb2.ConfidenceIntervalOptions(
                method=config_pb2.ConfidenceIntervalOptions.JACKKNIFE
            ),
        ),
    )


def _model_spec(name: str, **kwargs: Any) -> tfma.ModelSpec:
    return tfma.ModelSpec(
        name=name,
        signature_name=SIGNATURE_EXAMPLES,
        preprocessing_function_names=[SIGNATURE_LABELS],
        label_key=LABEL_ID,
        prediction_key=SCORES,
        **kwargs,
    )


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
    accuracy: float
    accuracy_interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the Evaluator found, read back from its artifact."""

    blessed: bool
    failures: tuple[str, ...]
    """Each threshold that was not met, in words."""
    accuracy: float
    accuracy_interval: tuple[float, float] | None
    """95 %."""
    baseline_accuracy: float | None
    loss: float
    top_k_accuracy: float
    top_k: int
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


def read_evaluation(directory: Path, class_names: Sequence[str]) -> Evaluation:
    """Reads the Evaluator's output."""
    raise RuntimeError
