"""The answers, by the name that their JSON gives; docs/lineage.schema.json is made of them."""

from __future__ import annotations

import importlib

ANSWERS = {
    "affected": "questions.affected.Affected",
    "affected-images": "questions.affected_images.AffectedImages",
    "diff": "questions.diff.Difference",
    "erase": "storage.erase.Erased",
    "erase-plan": "storage.erase.ErasePlan",
    "explain-cache": "cache.explain.CacheExplanation",
    "gc": "storage.removal.GcResult",
    "gc-plan": "storage.gc.GcPlan",
    "history": "questions.history.History",
    "import": "exchange.load.Imported",
    "model": "questions.model.ModelLineage",
    "pins": "graph.marks.Pins",
    "rollback-candidates": "questions.rollback_candidates.Rollback",
    "run": "questions.run_detail.RunDetail",
    "runs": "questions.runs.RunList",
    "served": "questions.served.ServedList",
    "verify": "storage.verify.Verification",
    "why-not-blessed": "questions.verdicts.WhyNotBlessed",
}
"""Module and dataclass, below `lineage`."""
_SECOND = {
    *("erase", "erase-plan"),
    *("affected", "affected-images", "history", "model", "rollback-candidates", "runs", "served"),
    "why-not-blessed",
}
"""These have metrics with a headline where the first had an accuracy; those of `erase` have arrays
among what is removed."""


def format_name(kind: str) -> str:
    """What `"format"` says in the JSON; the number grows when a field changes its meaning."""
    return f"visionline.lineage.{kind}/{2 if kind in _SECOND else 1}"


def answer_class(kind: str) -> type:
    module, _, name = ANSWERS[kind].rpartition(".")
    found: type = getattr(importlib.import_module(f"lineage.{module}"), name)
    return found
