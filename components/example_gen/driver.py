"""Runs before the cache is looked up: finds the span and identifies the data.

What it sets becomes part of the cache key, so a changed byte, label or split
runs ingestion again, and a changed file time does not.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2

from common.record import record
from components import driver
from components.example_gen.resolve import FINGERPRINT, SPAN, VERSION, resolve_once

EXAMPLES = "examples"
CONFIG, ENGINE = "config", "engine"
THREADS, BEAM = "threads", "beam"
"""What reads the images."""
_SEEN = ".seen"


def annotate(examples: Any, properties: Mapping[str, Any]) -> None:
    """Says on an MLMD artifact which data it holds, as TFX's own driver does."""
    # Custom properties: TFX's resolvers read these.
    record.annotate(
        examples, {k: v for k, v in properties.items() if k in (FINGERPRINT, SPAN, VERSION)}
    )


class Driver(driver.Driver):
    """Finds the data of `ImageExampleGen`."""

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        given = execution_info.exec_properties
        examples = copy.deepcopy(execution_info.output_dict[EXAMPLES][0].mlmd_artifact)
        folder, config = Path(examples.uri), given[CONFIG]
        properties = resolve_once(
            config,
            folder,
            # Beside all that the component makes.
            folder.parents[1] / _SEEN / hashlib.sha256(config.encode()).hexdigest()[:16],
            gathers=given[ENGINE] == THREADS,
        )
        result = driver.driven(given | properties)
        annotate(examples, properties)
        result.output_artifacts[EXAMPLES].artifacts.append(examples)
        return result
