"""The verdict: a config for TFX's own, unmodified Evaluator, and its results read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue

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
        options=tfma.Options(
            compute_confidence_intervals=BoolValue(value=config.confidence_intervals),
            confidence_intervals=tfma.ConfidenceIntervalOptions(
                method=tfma.ConfidenceIntervalOptions.JACKKNIFE
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
