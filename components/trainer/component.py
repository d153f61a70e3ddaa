"""The component's interface."""

from __future__ import annotations

import json
from typing import Any

from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, Model, ModelRun, TransformGraph

from components.component import Component, PythonExecutor, channels, texts


class TrainerSpec(ComponentSpec):
    PARAMETERS = texts("config", "image_size", "code_digest", "cache_dir")
    INPUTS = channels(examples=Examples, raw_examples=Examples, transform_graph=TransformGraph)
    OUTPUTS = channels(model=Model, model_run=ModelRun)


class Trainer(Component):
    """Trains a model on transformed examples and exports it.

    Args:
      examples: transformed examples with the splits train and val.
      raw_examples: what they were made from, for the dataset's digest.
      transform_graph: the graph that made them; the model carries it.
      config: a `trainers.config.TrainConfig` as JSON.
      image_size: height and width of the transformed images.
      code_digest: of the training code and of the user's own model and
        weights, so that the cache sees when they change.
      cache_dir: where the memory-mapped shards are kept between runs.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = PythonExecutor("components.trainer.executor.TrainerExecutor")

    def __init__(self, *, image_size: tuple[int, int], **values: Any) -> None:
        super().__init__(image_size=json.dumps(image_size), **values)
