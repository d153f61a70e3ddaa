"""The component's interface."""

from __future__ import annotations

from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.standard_artifacts import Examples, Model, ModelRun, TransformGraph

from components.artifacts import ImageArrays
from components.component import Component, PythonExecutor, channels, texts


class TrainerSpec(ComponentSpec):
    PARAMETERS = {
        **texts("config", "code_digest"),
        "image_size": ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        **channels(raw_examples=Examples, transform_graph=TransformGraph),
        "arrays": ChannelParameter(type=ImageArrays, optional=True, allow_empty=False),
    }
    OUTPUTS = channels(model=Model, model_run=ModelRun)


class Trainer(Component):
    """Trains a model on images and exports it.

    Args:
      arrays: of the splits train and val; without them the raw examples are streamed.
      image_size: height and width as JSON, where there are no arrays.
      raw_examples: what they were made from, also for the dataset's digest.
      transform_graph: decodes and resizes the images; the model carries it.
      config: a `trainers.config.TrainConfig` as JSON.
      code_digest: of the training code and of the user's own model, input and
        weights, so that the cache sees when they change.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = PythonExecutor("components.trainer.executor.TrainerExecutor")
