"""Ingestion alone: the executor as an orchestrator without drivers would run it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfx.types import standard_artifacts

from components.artifacts import IngestionReport
from components.example_gen.config import DataConfig, to_json
from components.example_gen.executor import Executor


def ingest(tmp_path: Path, **config: Any) -> tuple[Path, dict[str, Any]]:
    """Returns the folder of the Examples and the report; both are below `out`."""
    examples, report = standard_artifacts.Examples(), IngestionReport()
    examples.uri, report.uri = str(tmp_path / "out/examples"), str(tmp_path / "out/report")
    os.makedirs(report.uri)
    properties = {"config": to_json(DataConfig(**config))}
    Executor().Do({}, {"examples": [examples], "report": [report]}, properties)
    return tmp_path / "out/examples", json.loads(Path(report.uri, "report.json").read_text())
