"""The components' interfaces: one for the candidate, one for what it is compared with."""

from __future__ import annotations

from typing import Any

from tfx.types.component_spec import ChannelParameter, ComponentSpec
from tfx.types.standard_artifacts import Examples, InferenceResult, Model

from components.bulk_inferrer.baseline import BaselineDriver
from components.component import Component, PythonExecutor, channels, texts


class BulkInferrerSpec(ComponentSpec):
    PARAMETERS = texts("split")
    INPUTS = channels(examples=Examples, model=Model)
    OUTPUTS = channels(inference_result=InferenceResult)


class BulkInferrer(Component):
    """Scores a split's images by a model, as `modelstore.predictions` keeps them.

    Not TFX's own, which runs the SavedModel by Beam and keeps its answers as protocol buffers.

    Args:
      examples: raw examples.
      model: the candidate.
      split: of the examples.
    """

    SPEC_CLASS = BulkInferrerSpec
    EXECUTOR_SPEC = PythonExecutor("components.bulk_inferrer.executor.BulkInferrerExecutor")


class BaselineInferrerSpec(ComponentSpec):
    PARAMETERS = texts("split", "serving_dir", "serving_name", "comparison")
    INPUTS = {
        **channels(examples=Examples, candidate=Model),
        "baseline_model": ChannelParameter(type=Model, optional=True),
    }
    OUTPUTS = channels(inference_result=InferenceResult)


class BaselineInferrer(Component):
    """Does so by the model that is served, or says why there is none to compare with.

    Its predictions are reused as long as that model and the data are the same, whatever the
    candidate is.

    Args:
      examples: raw examples.
      candidate: what is compared; it tells which version is another model.
      baseline_model: the record of the served model, for lineage; see `BaselineDriver`.
      split: of the examples.
      serving_dir: the serving folder.
      name: the model's name there.
      comparison: see `EvaluateConfig.baseline`.
    """

    SPEC_CLASS = BaselineInferrerSpec
    EXECUTOR_SPEC = PythonExecutor("components.bulk_inferrer.executor.BaselineInferrerExecutor")
    DRIVER_CLASS = BaselineDriver

    def __init__(self, *, name: str, **values: Any) -> None:
        super().__init__(serving_name=name, **values)
