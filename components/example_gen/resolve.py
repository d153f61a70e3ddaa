"""Which data a config means, and what identifies it; needs no TFX."""

from __future__ import annotations

from typing import Any

from absl import logging

from common.record.record import names_of
from common.record.steps import Data
from components.example_gen import spans
from components.example_gen.config import from_json
from components.example_gen.digest import fingerprint
from components.example_gen.source import list_source

RESOLVED_PATH, SPAN, VERSION, FINGERPRINT = names_of(
    Data.resolved_path, Data.span, Data.version, Data.input_fingerprint
)
"""As `tfx.components.example_gen.utils` names them."""


def resolve(config_json: str) -> dict[str, Any]:
    """Returns the execution properties that depend on the data; reads every file.

    Raises:
      DataError: the data is missing or cannot be listed.
    """
    config = from_json(config_json)
    place = spans.resolve(config.path, config.span, config.version)
    source = list_source(config, place.path)
    logging.info("Digesting %d files of %s", len(source.shards or source.records), place.path)
    properties = {
        RESOLVED_PATH: place.path,
        SPAN: place.span,
        FINGERPRINT: fingerprint(source),
    }
    if place.version is not None:
        properties[VERSION] = place.version
    return properties
