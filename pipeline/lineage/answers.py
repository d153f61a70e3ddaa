"""The answers, by the name that their JSON gives; docs/lineage.schema.json is made of them."""

from __future__ import annotations

import importlib

ANSWERS = {
    "affected": "affected.Affected",
    "affected-images": "affected_images.AffectedImages",
    "diff": "diff.Difference",
    "erase": "erase.Erased",
    "erase-plan": "erase.ErasePlan",
    "explain-cache": "cache.CacheExplanation",
    "gc": "removal.GcResult",
    "gc-plan": "gc.GcPlan",
    "history": "history.History",
    "import": "load.Imported",
    "model": "model.ModelLineage",
    "pins": "pins.Pins",
    "rollback-candidates": "rollback.Rollback",
    "run": "run_detail.RunDetail",
    "runs": "runs.RunList",
    "served": "served.ServedList",
    "verify": "verify.Verification",
    "why-not-blessed": "verdicts.WhyNotBlessed",
}
"""Module and dataclass, below `pipeline.lineage`."""


def format_name(kind: str) -> str:
    """What `"format"` says in the JSON; the number grows when a field changes its meaning."""
    return f"visionline.lineage.{kind}/1"


def answer_class(kind: str) -> type:
    module, _, name = ANSWERS[kind].partition(".")
    found: type = getattr(importlib.import_module(f"pipeline.lineage.{module}"), name)
    return found
