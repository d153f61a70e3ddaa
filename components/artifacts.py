"""Artifact types of visionline's own."""

from __future__ import annotations

from tfx.types import artifact

from common.record.kinds import REPORT


class IngestionReport(artifact.Artifact):
    """What ImageExampleGen read: `report.json`, `quarantine.jsonl` and `images.tsv`."""

    TYPE_NAME = REPORT
