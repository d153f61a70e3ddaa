"""The component's interface."""

from __future__ import annotations

import json

from tfx import types
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Schema, TransformGraph

from common.record.record import name_of
from common.record.steps import Parameters
from components.artifacts import IngestionReport
from components.component import Component, PythonExecutor, channels, texts

CONFIG = name_of(Parameters.custom_config)
"""As TFX's Transform calls it."""


class TransformSpec(ComponentSpec):
    PARAMETERS = texts(CONFIG)
    INPUTS = channels(schema=Schema, report=IngestionReport)
    OUTPUTS = channels(transform_graph=TransformGraph)


class Transform(Component):
    """Makes the graph that takes raw examples to what a model sees; reads no image.

    Output: `transform_graph` (TransformGraph), laid out as by TFX's Transform.

    Args:
      schema: of the raw examples.
      report: what ingestion found, for the classes of the train split.
      image_size: height and width that images are made.
      resize: how, see `pipeline.config.TransformConfig`.
      code_digest: of the code that makes the graph.
    """

    SPEC_CLASS = TransformSpec
    EXECUTOR_SPEC = PythonExecutor("components.transform.executor.Executor")

    def __init__(
        self,
        schema: types.BaseChannel,
        report: types.BaseChannel,
        image_size: tuple[int, int],
        resize: str,
        code_digest: str,
    ) -> None:
        config = {"image_size": image_size, "resize": resize, "code_digest": code_digest}
        super().__init__(
            schema=schema, report=report, **{CONFIG: json.dumps(config, sort_keys=True)}
        )
