"""What a task of the compiled pipeline tells its container: the one thing both ends know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from common.record.kinds import IMAGE_EXAMPLE_GEN, TRAINER
from common.record.record import name_of
from common.record.steps import Parameters

RELEASE = version("visionline")
"""A spec is run by images of the release that compiled it."""
WORKSPACE = "/tmp/visionline"
"""Stands for a folder of the task's own, wherever that is: runs may share a machine."""
LINEAGE = "lineage"
"""The output of every component: an export for `visionline lineage import` of what it did
and of all that this stands on."""
RESOLVED = "resolved_data"
"""What the data is, found by a task that is never cached: the Ingestion's cache key."""
BASELINE = name_of(Parameters.resolved_baseline)
"""What the candidate is compared with, found likewise; see `components.bulk_inferrer.baseline`."""
CANDIDATE = "candidate"
"""The input of a component that only finding the baseline takes."""
METRICS = "ui_metrics"
REPORT = "ui_report"
"""Outputs for the UI alone."""
CONFIG = "run_config"
"""The whole config, for the record of the run."""
SCHEMA_TEXT = "schema_text"
"""A frozen schema's content, in place of its path."""
PARAMETERS = {
    "data_path": ("data", "path"),
    "framework": ("train", "framework"),
    "model": ("train", "model"),
    "epochs": ("train", "epochs"),
    "learning_rate": ("train", "learning_rate"),
    "seed": ("train", "seed"),
    "baseline": ("evaluate", "baseline"),
}
"""What can be changed for each run, and where it stands in the config."""
OVERRIDES = {
    IMAGE_EXAMPLE_GEN: ("data_path",),
    TRAINER: ("framework", "model", "epochs", "learning_rate", "seed"),
}
"""The parameters that go into a component's `config`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One component as its container sees it."""

    pipeline: str
    node: dict[str, Any]
    """Of TFX's IR, as JSON: `node_info`, `contexts` and `outputs`."""
    executor: dict[str, Any]
    """Of TFX's IR, as JSON: an `Any` of an executable spec, with the options for Beam."""
    properties: dict[str, str] = field(default_factory=dict)
    """Types of the execution properties: "str", "int" or "float"."""

    @property
    def id(self) -> str:
        id_: str = self.node["nodeInfo"]["id"]
        return id_


def task_name(id_: str) -> str:
    """Returns `ImageExampleGen` as Kubernetes writes it, `image-example-gen`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", id_)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def overridden(table: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Returns a config's table with the run's parameters in it.

    What the backend holds as doubles is of the type that it has in the table.
    """
    changed = {PARAMETERS[name][1]: value for name, value in values.items()}
    for key, value in changed.items():
        if isinstance(table[key], int) and isinstance(value, int | float) and value == int(value):
            changed[key] = int(value)
    return table | changed
