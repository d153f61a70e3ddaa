"""The component's interface."""

from __future__ import annotations

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component
from tfx.types.component_spec import ChannelParameter, ComponentSpec
from tfx.types.standard_artifacts import (
    Examples,
    InferenceResult,
    Model,
    ModelBlessing,
    ModelEvaluation,
)

from common.config.strict import dump
from common.record.record import name_of
from common.record.steps import Parameters
from components.component import BeamExecutor, Component, channels, texts
from components.evaluator.verdict import EvaluateConfig

SPLITS = name_of(Parameters.example_splits)


class EvaluatorSpec(ComponentSpec):
    PARAMETERS = texts("evaluate", "task", SPLITS)
    INPUTS = {
        **channels(examples=Examples, model=Model),
        **channels(predictions=InferenceResult, baseline_predictions=InferenceResult),
        "baseline_model": ChannelParameter(type=Model, optional=True),
    }
    OUTPUTS = channels(evaluation=ModelEvaluation, blessing=ModelBlessing)


class Evaluator(Component, base_beam_component.BaseBeamComponent):
    """Judges a model by its predictions, beside those of the one that is served.

    Not TFX's own, which runs both models by Beam.

    Args:
      examples: raw examples, to be counted.
      model: the candidate.
      predictions: the candidate's, of BulkInferrer.
      baseline_predictions: of BaselineInferrer.
      baseline_model: the record of the served model, for lineage.
      config: the thresholds.
      task: of the models, a name of `modelstore.tasks`.
      split: of the examples.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = BeamExecutor("components.evaluator.executor.EvaluatorExecutor")

    def __init__(self, *, config: EvaluateConfig, split: str, **values: Any) -> None:
        thresholds = dump(config)
        del thresholds["baseline"]  # what came of it is in `baseline_predictions`
        super().__init__(
            evaluate=json.dumps(thresholds, sort_keys=True),
            **{SPLITS: json.dumps([split])},
            **values,
        )
