"""ImageExampleGen's executor alone, as an orchestrator without drivers runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfx.types import standard_artifacts

from components.artifacts import IngestionReport
from components.example_gen.config import DataConfig, to_json
from components.example_gen.executor import Executor


def ingest(folder: Path, **config: Any) -> tuple[Path, dict[str, Any]]:
    """Returns the Examples and the report, which are written below `folder`."""
    examples, report = standard_artifacts.Examples(), IngestionReport()
    examples.uri, report.uri = str(folder / "out/examples"), str(folder / "out/report")
    os.makedirs(report.uri)
    properties = {"config": to_json(DataConfig(**config))}
    Executor().Do({}, {"examples": [examples], "report": [report]}, properties)
    return folder / "out/examples", json.loads(Path(report.uri, "report.json").read_text())
