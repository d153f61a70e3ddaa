"""Writes the transform graph."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.base import base_executor

from common.files import read_json
from components import schema as schemas
from components import tfx_private
from components.example_gen.report import REPORT_FILE
from components.executor_io import Artifacts, Properties, folder
from components.transform.component import CONFIG
from components.transform.graph import preprocess
from components.transform.vocabulary import VOCABULARY, write_vocabulary


class Executor(base_executor.BaseExecutor):
    """See `components.transform.component.Transform`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        config = json.loads(exec_properties[CONFIG])
        report = read_json(folder(input_dict, "report") / REPORT_FILE)
        write_graph(
            folder(output_dict, "transform_graph"),
            schemas.read(str(folder(input_dict, "schema"))),
            # Of the data and not of the schema: a frozen one may have others, if accepted.
            report["splits"]["train"]["classes"],
            tuple(config["image_size"]),
            config["resize"],
        )


def write_graph(
    target: Path,
    schema: schema_pb2.Schema,
    classes: Iterable[str],
    image_size: tuple[int, int],
    resize: str,
) -> None:
    """Writes a transform graph as TFX's Transform lays it out.

    Args:
      schema: of the raw examples; all its features are inputs of the graph.
      classes: names in any order.
      image_size: height and width that images are made.
      resize: a key of `graph.RESIZE`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        vocabulary = Path(scratch, VOCABULARY)
        write_vocabulary(vocabulary, classes)
        function = partial(
            preprocess, image_size=image_size, resize=resize, vocabulary=str(vocabulary)
        )
        tfx_private.write_transform(function, schema, target)
