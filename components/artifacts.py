"""Artifact types of visionline's own."""

from __future__ import annotations

from tfx.types import artifact


class IngestionReport(artifact.Artifact):
    """What ImageExampleGen read: `report.json`, `quarantine.jsonl` and `images.tsv`."""

    TYPE_NAME = "IngestionReport"
