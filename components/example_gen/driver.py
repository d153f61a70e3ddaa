"""Runs before the cache is looked up: finds the span and identifies the data.

What it sets becomes part of the cache key, so a changed byte, label or split
runs ingestion again, and a changed file time does not.
"""

from __future__ import annotations

import copy
from typing import Any

from absl import logging
from tfx.components.example_gen import utils
from tfx.dsl.components.base import base_driver as legacy_base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2

from components.example_gen import spans
from components.example_gen.config import from_json
from components.example_gen.digest import digest_source
from components.example_gen.source import list_source

EXAMPLES = "examples"
CONFIG = "config"
RESOLVED_PATH = "resolved_path"
SPAN = utils.SPAN_PROPERTY_NAME
VERSION = utils.VERSION_PROPERTY_NAME
FINGERPRINT = utils.FINGERPRINT_PROPERTY_NAME


def resolve(config_json: str) -> dict[str, Any]:
    """The execution properties that depend on the data; reads every file.

    Raises:
      DataError: the data is missing or cannot be listed.
    """
    config = from_json(config_json)
    place = spans.resolve(config.path, config.span, config.version)
    source = list_source(config, place.path)
    logging.info("Digesting %d files of %s", len(source.records), place.path)
    properties = {
        RESOLVED_PATH: place.path,
        SPAN: place.span,
        FINGERPRINT: digest_source(source),
    }
    if place.version is not None:
        properties[VERSION] = place.version
    return properties


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
        # Custom properties, as TFX's own driver sets them: its resolvers read these.
        examples.custom_properties[FINGERPRINT].string_value = properties[FINGERPRINT]
        for name in (SPAN, VERSION):
            if name in properties:
                examples.custom_properties[name].int_value = properties[name]
        result.output_artifacts[EXAMPLES].artifacts.append(examples)
        return result
