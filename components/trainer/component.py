"""The component's interface."""

from __future__ import annotations

from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, Model, ModelRun, TransformGraph

from components.artifacts import ImageArrays
from components.component import Component, PythonExecutor, channels, texts


class TrainerSpec(ComponentSpec):
    PARAMETERS = texts("config", "code_digest")
    INPUTS = channels(arrays=ImageArrays, raw_examples=Examples, transform_graph=TransformGraph)
    OUTPUTS = channels(model=Model, model_run=ModelRun)


class Trainer(Component):
    """Trains a model on arrays of images and exports it.

    Args:
      arrays: of the splits train and val.
      raw_examples: what they were made from, for the dataset's digest.
      transform_graph: the graph that made them; the model carries it.
      config: a `trainers.config.TrainConfig` as JSON.
      code_digest: of the training code and of the user's own model and
        weights, so that the cache sees when they change.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = PythonExecutor("components.trainer.executor.TrainerExecutor")
