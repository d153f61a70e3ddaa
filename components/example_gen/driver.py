"""Runs before the cache is looked up: finds the span and identifies the data.

What it sets becomes part of the cache key, so a changed byte, label or split
runs ingestion again, and a changed file time does not.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_driver as legacy_base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2

from common.record.record import annotate as add
from components.example_gen.resolve import FINGERPRINT, SPAN, VERSION, resolve

EXAMPLES = "examples"
CONFIG = "config"


def annotate(examples: Any, properties: Mapping[str, Any]) -> None:
    """Says on an MLMD artifact which data it holds, as TFX's own driver does."""
    # Custom properties: TFX's resolvers read these.
    add(examples, {k: v for k, v in properties.items() if k in (FINGERPRINT, SPAN, VERSION)})


class Driver(legacy_base_driver.BaseDriver, base_driver.BaseDriver):
    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        # TFX asks for the old base class and uses the new one.
        legacy_base_driver.BaseDriver.__init__(self, metadata_handle)
        base_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        properties = resolve(execution_info.exec_properties[CONFIG])
        result = driver_output_pb2.DriverOutput()
        for name, value in (execution_info.exec_properties | properties).items():
            data_types_utils.set_metadata_value(result.exec_properties[name], value)
        examples = copy.deepcopy(execution_info.output_dict[EXAMPLES][0].mlmd_artifact)
        annotate(examples, properties)
        result.output_artifacts[EXAMPLES].artifacts.append(examples)
        return result
