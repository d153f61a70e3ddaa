"""`visionline lineage …`: questions about what was recorded."""

from __future__ import annotations

from pipeline.cli.group import Group

_HERE = "pipeline.cli.lineage"


class Lineage(Group):
    """Ask where models come from, what became of them, and why."""

    places = {
        "model": (f"{_HERE}.model:model", "Show what made and judged a model, and its pushes."),
        "why-not-blessed": (
            f"{_HERE}.model:why_not_blessed",
            "Explain which thresholds a model missed.",
        ),
        "served": (f"{_HERE}.served:served", "Show what is in serving now."),
        "history": (f"{_HERE}.history:history", "List a model's versions over time."),
        "rollback-candidates": (
            f"{_HERE}.rollback_candidates:rollback_candidates",
            "Show which older versions could serve instead.",
        ),
        "runs": (f"{_HERE}.runs:runs", "List the latest runs."),
        "run": (f"{_HERE}.run:run", "Show what one run did."),
        "explain-cache": (
            f"{_HERE}.explain_cache:explain_cache",
            "Explain why a step was cached, or was not.",
        ),
        "diff": (f"{_HERE}.diff:diff", "Explain why two models or runs differ."),
        "affected": (f"{_HERE}.affected:affected", "List what was built on data or images."),
        "export": (f"{_HERE}.export:export_", "Write lineage to a file, or draw it."),
        "import": (f"{_HERE}.import_:import_", "Bring exported lineage into a store."),
        "verify": (f"{_HERE}.verify:verify", "Check that files are what was recorded."),
        "gc": (f"{_HERE}.gc:gc", "Remove artifact files that nothing kept needs."),
        "pin": (f"{_HERE}.pins:pin", "Keep a model from being removed by gc."),
        "unpin": (f"{_HERE}.pins:unpin", "Take a model's pin away."),
        "pins": (f"{_HERE}.pins:pins", "List pinned models."),
    }
