"""StatisticsGen over the features that mean something, the image bytes left out."""

from __future__ import annotations

import json

from tfx.dsl.components.base import base_beam_component
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, ExampleStatistics

from components.component import BeamExecutor, Component, channels, texts


class StatisticsGenSpec(ComponentSpec):
    PARAMETERS = texts("exclude_splits")
    INPUTS = channels(examples=Examples)
    OUTPUTS = channels(statistics=ExampleStatistics)


class StatisticsGen(Component, base_beam_component.BaseBeamComponent):
    """TFX's StatisticsGen for the raw examples of ImageExampleGen, of all splits."""

    SPEC_CLASS = StatisticsGenSpec
    EXECUTOR_SPEC = BeamExecutor("components.statistics.executor.Executor")

    def __init__(self, examples: object) -> None:
        super().__init__(examples=examples, exclude_splits=json.dumps([]))
