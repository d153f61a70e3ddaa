"""What stands for a backslash in PostgreSQL's tables, see `lineage.store.mlmd`."""

from __future__ import annotations

STAND_IN = "\ue05c"
"""For private use: in nobody's text."""


def hide(text: str) -> str:
    return text.replace("\\", STAND_IN)


def restore(text: str) -> str:
    return text.replace(STAND_IN, "\\")
