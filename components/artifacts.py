"""Artifact types of visionline's own."""

from __future__ import annotations

from tfx.types import artifact

from common.record.artifacts import Examples
from common.record.kinds import ARRAYS, REPORT
from common.record.record import name_of


class IngestionReport(artifact.Artifact):
    """What ImageExampleGen read: `report.json`, `quarantine.jsonl` and `images.tsv`."""

    TYPE_NAME = REPORT


class ImageArrays(artifact.Artifact):
    """What a training reads: by split, `images_NHW3.npy` (uint8) and `labels_N.npy` (int64)."""

    TYPE_NAME = ARRAYS
    PROPERTIES = {
        name_of(Examples.split_names): artifact.Property(type=artifact.PropertyType.STRING)
    }
