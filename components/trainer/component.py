"""The component's interface."""

from __future__ import annotations

import json

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.channel import BaseChannel, OutputChannel

from components.trainer.executor import TrainerExecutor


class TrainerSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "image_size": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str),
        "cache_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "raw_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Trainer(base_component.BaseComponent):
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
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TrainerExecutor)

    def __init__(
        self,
        *,
        examples: BaseChannel,
        raw_examples: BaseChannel,
        transform_graph: BaseChannel,
        config: str,
        image_size: tuple[int, int],
        code_digest: str,
        cache_dir: str,
    ) -> None:
        super().__init__(
            TrainerSpec(
                examples=examples,
                raw_examples=raw_examples,
                transform_graph=transform_graph,
                config=config,
                image_size=json.dumps(image_size),
                code_digest=code_digest,
                cache_dir=cache_dir,
                model=OutputChannel(standard_artifacts.Model, self, "model"),
                model_run=OutputChannel(standard_artifacts.ModelRun, self, "model_run"),
            )
        )
