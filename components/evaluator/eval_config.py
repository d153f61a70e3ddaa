"""TensorFlow Model Analysis' configuration: metrics, slices, thresholds."""

from __future__ import annotations

import json
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf.wrappers_pb2 import DoubleValue
from tensorflow_model_analysis.proto import config_pb2

from components import tfx_private
from components.evaluator import measures
from components.evaluator.verdict import BASELINE, EXAMPLES, LABEL, EvaluateConfig
from modelstore.tasks.contract import Metric, Task

tfx_private.name_tfma_protos()

CANDIDATE = "candidate"
LABEL_ID = "label_id"


def eval_config(config: EvaluateConfig, task: Task, *, has_baseline: bool) -> tfma.EvalConfig:
    """Makes TFMA's configuration.

    Args:
      has_baseline: otherwise nothing is asked of how much is lost against it.
    """
    headline, *others = (_metric(m, config, task) for m in task.METRICS)
    headline.per_slice_thresholds.extend(_thresholds(config))
    count = _measure(measures.ImageCount.__name__, name=EXAMPLES)
    plots = (_measure(name, name=name) for name in task.PLOTS)
    slices = [[], *([key] for key in (LABEL, *config.slices))]
    whole = tfma.EvalConfig(
        model_specs=[_model_spec(CANDIDATE), _model_spec(BASELINE, is_baseline=True)],
        metrics_specs=[tfma.MetricsSpec(metrics=[headline, count, *others, *plots])],
        slicing_specs=[tfma.SlicingSpec(feature_keys=keys) for keys in slices],
    )
    made = tfma.utils.update_eval_config_with_defaults(
        whole, has_baseline=has_baseline, rubber_stamp=True
    )
    tfma.utils.verify_eval_config(made)
    return made


def _metric(metric: Metric, config: EvaluateConfig, task: Task) -> tfma.MetricConfig:
    settings = {name: getattr(config, field) for name, field in metric.settings.items()}
    kind = measures.MeanOfImages.__name__
    return _measure(kind, name=metric.name, task=task.NAME, settings=settings)


def _measure(class_name: str, **arguments: Any) -> tfma.MetricConfig:
    return tfma.MetricConfig(
        class_name=class_name, module=measures.__name__, config=json.dumps(arguments)
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
    by_slice = [(tfma.SlicingSpec(), overall)]
    if config.min_class_accuracy is not None:
        least = tfma.MetricThreshold(value_threshold=_at_least(config.min_class_accuracy))
        by_slice.append((tfma.SlicingSpec(feature_keys=[LABEL]), least))
    return [
        config_pb2.PerSliceMetricThreshold(slicing_specs=[slice_], threshold=threshold)
        for slice_, threshold in by_slice
    ]


def _at_least(value: float) -> tfma.GenericValueThreshold:
    return tfma.GenericValueThreshold(lower_bound=DoubleValue(value=value))


def _model_spec(name: str, **kwargs: Any) -> tfma.ModelSpec:
    return tfma.ModelSpec(name=name, label_key=LABEL_ID, prediction_key=name, **kwargs)
