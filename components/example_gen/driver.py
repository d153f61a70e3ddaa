"""Runs before the cache is looked up: finds the span and identifies the data.

What it sets becomes part of the cache key, so a changed byte, label or split
runs ingestion again, and a changed file time does not.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2

from common.record import record
from components import driver
from components.example_gen.resolve import FINGERPRINT, SPAN, VERSION, resolve

EXAMPLES = "examples"
CONFIG = "config"


def annotate(examples: Any, properties: Mapping[str, Any]) -> None:
    """Says on an MLMD artifact which data it holds, as TFX's own driver does."""
    # Custom properties: TFX's resolvers read these.
    record.annotate(
        examples, {k: v for k, v in properties.items() if k in (FINGERPRINT, SPAN, VERSION)}
    )


class Driver(driver.Driver):
    """Finds the data of `ImageExampleGen`."""

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        properties = resolve(execution_info.exec_properties[CONFIG])
        result = driver.driven(execution_info.exec_properties | properties)
        examples = copy.deepcopy(execution_info.output_dict[EXAMPLES][0].mlmd_artifact)
        annotate(examples, properties)
        result.output_artifacts[EXAMPLES].artifacts.append(examples)
        return result
