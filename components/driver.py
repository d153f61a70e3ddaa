"""What runs before TFX looks into its cache, and is part of the cache's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver as ir_base_driver
from tfx.proto.orchestration import driver_output_pb2


class Driver(base_driver.BaseDriver, ir_base_driver.BaseDriver):
    """The base of our drivers: TFX asks for the old base class and uses the new one."""

    def __init__(self, connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, connection)
        ir_base_driver.BaseDriver.__init__(self, connection)
        self.connection = connection


def driven(properties: Mapping[str, Any]) -> driver_output_pb2.DriverOutput:
    """Returns what a driver says: execution properties; None is left out."""
    output = driver_output_pb2.DriverOutput()
    for key, value in properties.items():
        if value is not None:
            data_types_utils.set_metadata_value(output.exec_properties[key], value)
    return output
