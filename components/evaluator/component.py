"""The verdict: TFX's own Evaluator, its config, and the baseline that it is given."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from absl import logging
from google.protobuf.wrappers_pb2 import DoubleValue
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ComponentSpec

from common.config.strict import dump
from common.files import write_json
from common.record.artifacts import Blessing
from common.record.record import annotate
from common.record.steps import Verdict
from components import details, executor_io, tfx_private
from components.component import Component, texts
from components.evaluator.baseline import RESOLVED, EvaluatorDriver
from components.evaluator.result import read_failures
from components.evaluator.verdict import BASELINE, LABEL, WHY_NOT_FILE, EvaluateConfig
from components.executor_io import Artifacts, Properties, one
from modelstore.artifact import SERVING_FORMAT
from modelstore.baseline import BASELINE_FILE, Baseline
from modelstore.savedmodel import LABEL_ID, SCORES, SIGNATURE_EXAMPLES, SIGNATURE_LABELS
from modelstore.tasks import TASKS
from modelstore.tasks.contract import Metric, Plot, Task

tfx_private.name_tfma_protos()

CANDIDATE = "candidate"
_MODEL = standard_component_specs.BASELINE_MODEL_KEY


class EvaluatorExecutor(tfx_executor.Executor):  # type: ignore[misc]
    """TFX's own on the served version's files; no verdict is good without its comparison."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        baseline = executor_io.config(Baseline, exec_properties, RESOLVED)
        recorded = input_dict.get(_MODEL) or []
        inputs = {k: v for k, v in input_dict.items() if k != _MODEL}
        with tempfile.TemporaryDirectory(prefix="visionline-") as scratch:
            if baseline.where is not None:
                inputs[_MODEL] = [_laid_out(Path(baseline.where), Path(scratch))]
            super().Do(inputs, output_dict, exec_properties)
        blessing = one(output_dict, "blessing")
        if baseline.where is not None:
            id_ = recorded[-1].id if recorded else None
            annotate(blessing, Blessing(baseline_model=baseline.where, baseline_model_id=id_))
        if baseline.state == "unusable":
            _withhold(blessing, baseline.why)
        folder = executor_io.folder(output_dict, "evaluation")
        write_json(folder / BASELINE_FILE, dump(baseline))
        write_json(folder / WHY_NOT_FILE, [*read_failures(folder)])
        details.record(Verdict(baseline_state=baseline.state, baseline_version=baseline.version))


class EvaluatorSpec(ComponentSpec):
    PARAMETERS = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        **texts("serving_dir", "serving_name", "comparison"),
    }
    INPUTS = standard_component_specs.EvaluatorSpec.INPUTS
    OUTPUTS = standard_component_specs.EvaluatorSpec.OUTPUTS
    TYPE_ANNOTATION = standard_component_specs.EvaluatorSpec.TYPE_ANNOTATION


class Evaluator(Component, base_beam_component.BaseBeamComponent):
    """Judges a model on held-out examples, beside the one that is served.

    Args:
      examples: raw examples.
      model: the candidate.
      baseline_model: the record of the served model, for lineage; see `EvaluatorDriver`.
      schema: of the examples.
      config: the thresholds.
      task: of the models, a name of `modelstore.tasks`.
      split: of the examples.
      serving_dir: the serving folder.
      name: the model's name there.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(EvaluatorExecutor)
    DRIVER_CLASS = EvaluatorDriver

    def __init__(
        self, *, config: EvaluateConfig, task: str, split: str, name: str, **values: Any
    ) -> None:
        super().__init__(
            **values,
            eval_config=eval_config(config, TASKS[task]),
            example_splits=json.dumps([split]),
            fairness_indicator_thresholds="null",
            serving_name=name,
            comparison=config.baseline,
        )


def _laid_out(version: Path, scratch: Path) -> Any:
    """Lays out a pushed version as the artifact of a model."""
    model = standard_artifacts.Model()
    model.uri = str(scratch)
    (scratch / SERVING_FORMAT).symlink_to(version.absolute())
    return model


def _withhold(blessing: Any, why: str) -> None:
    """Makes the blessing what TFX's own is of a model that missed a threshold."""
    logging.warning("Not blessed: %s", why)
    for verdict in Path(blessing.uri).iterdir():
        verdict.unlink()
    (Path(blessing.uri) / "NOT_BLESSED").touch()
    annotate(blessing, Blessing(blessed=False))


def eval_config(config: EvaluateConfig, task: Task) -> tfma.EvalConfig:
    """Makes TFMA's configuration: metrics, slices, thresholds.

    The label comes from each model's own `transform_features`, so candidate
    and baseline may number the classes differently.
    """
    headline, *others = (_metric(m, config) for m in task.METRICS)
    headline.per_slice_thresholds.extend(_thresholds(config))
    metrics = [
        headline,
        tfma.MetricConfig(class_name="ExampleCount"),
        *others,
    ]
    slices = [[], *([key] for key in (LABEL, *config.slices))]
    return tfma.EvalConfig(
        model_specs=[_model_spec(CANDIDATE), _model_spec(BASELINE, is_baseline=True)],
        metrics_specs=[
            tfma.MetricsSpec(metrics=metrics),
            *map(_plot, task.PLOTS),
        ],
        slicing_specs=[tfma.SlicingSpec(feature_keys=keys) for keys in slices],
    )


def _metric(metric: Metric, config: EvaluateConfig) -> tfma.MetricConfig:
    settings = {name: getattr(config, field) for name, field in metric.settings.items()}
    arguments = {"name": metric.name, **settings}
    return tfma.MetricConfig(class_name=metric.tfma, config=json.dumps(arguments))


def _plot(plot: Plot) -> tfma.MetricsSpec:
    metric = tfma.MetricConfig(class_name=plot.tfma, config=json.dumps(plot.arguments))
    if not plot.micro_average:
        return tfma.MetricsSpec(metrics=[metric])
    averaged = config_pb2.AggregationOptions(micro_average=True)
    return tfma.MetricsSpec(metrics=[metric], aggregate=averaged)


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
    return tfma.ModelSpec(
        name=name,
        signature_name=SIGNATURE_EXAMPLES,
        preprocessing_function_names=[SIGNATURE_LABELS],
        label_key=LABEL_ID,
        prediction_key=SCORES,
        **kwargs,
    )
