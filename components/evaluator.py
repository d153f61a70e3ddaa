"""The verdict: a config for TFX's own, unmodified Evaluator."""

from __future__ import annotations

from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation import LABEL, EvaluateConfig
from trainers.savedmodel import LABEL_ID, SCORES, SIGNATURE_EXAMPLES, SIGNATURE_LABELS

ACCURACY = "accuracy"
LOSS = "loss"
TOP_K = "top_k_accuracy"
BINS = 10
CANDIDATE = "candidate"
BASELINE = "baseline"


def eval_config(config: EvaluateConfig) -> tfma.EvalConfig:
    """TFMA's configuration: metrics, slices, thresholds.

    The label comes from each model's own `transform_features`, so candidate
    and baseline may number the classes differently.
    """
    metrics = [
        tfma.MetricConfig(
            class_name="SparseCategoricalAccuracy",
            config=f'{{"name": "{ACCURACY}"}}',
            per_slice_thresholds=_thresholds(config),
        ),
        tfma.MetricConfig(class_name="ExampleCount"),
        tfma.MetricConfig(
            class_name="SparseCategoricalCrossentropy", config=f'{{"name": "{LOSS}"}}'
        ),
        tfma.MetricConfig(
            class_name="SparseTopKCategoricalAccuracy",
            config=f'{{"name": "{TOP_K}", "k": {config.top_k}}}',
        ),
        tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
    ]
    slicing = [
        tfma.SlicingSpec(),
        *(tfma.SlicingSpec(feature_keys=[key]) for key in (LABEL, *config.slices)),
    ]
    return tfma.EvalConfig(
        model_specs=[_model_spec(CANDIDATE), _model_spec(BASELINE, is_baseline=True)],
        metrics_specs=[
            tfma.MetricsSpec(metrics=metrics),
            # All classes' scores in one plot: there are as many bins as of a binary model.
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name="CalibrationPlot", config=f'{{"num_buckets": {BINS}}}'
                    )
                ],
                aggregate=config_pb2.AggregationOptions(micro_average=True),
            ),
        ],
        slicing_specs=slicing,
        options=config_pb2.Options(
            compute_confidence_intervals=BoolValue(value=config.confidence_intervals),
            confidence_intervals=config_pb2.ConfidenceIntervalOptions(
                method=config_pb2.ConfidenceIntervalOptions.JACKKNIFE
            ),
        ),
    )


def _thresholds(config: EvaluateConfig) -> list[config_pb2.PerSliceMetricThreshold]:
    """TFMA applies a plain threshold to every slice; these name theirs."""
    overall = tfma.MetricThreshold(
        value_threshold=_at_least(config.min_accuracy),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute=DoubleValue(value=-config.max_regression),
        ),
    )
    thresholds = [
        config_pb2.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=overall)
    ]
    if config.min_class_accuracy is not None:
        thresholds.append(
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[tfma.SlicingSpec(feature_keys=[LABEL])],
                threshold=tfma.MetricThreshold(
                    value_threshold=_at_least(config.min_class_accuracy)
                ),
            )
        )
    return thresholds


def _at_least(value: float) -> tfma.GenericValueThreshold:
    return tfma.GenericValueThreshold(lower_bound=DoubleValue(value=value))


def _model_spec(name: str, **kwargs: Any) -> tfma.ModelSpec:
    return tfma.ModelSpec(
        name=name,
        signature_name=SIGNATURE_EXAMPLES,
        preprocessing_function_names=[SIGNATURE_LABELS],
        label_key=LABEL_ID,
        prediction_key=SCORES,
        **kwargs,
    )
