"""From the labels that an export gives an image to the one that it must have."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from types import MappingProxyType

from common.errors import DataError
from components.example_gen.manifests.table import Table
from components.example_gen.records import Quarantined

NO_LABEL = "no-label"
SEVERAL_LABELS = "several-labels"
_NO_MORE: Mapping[str, str] = MappingProxyType({})


def add(
    table: Table, where: str, path: str, labels: Collection[str], more: Mapping[str, str] = _NO_MORE
) -> None:
    """Adds an image as a row, or to the quarantine unless it has exactly one label.

    Args:
      more: further values of the row.
    """
    if len(labels) == 1:
        table.rows.append((where, {**more, "path": path, "label": next(iter(labels))}))
        return
    table.quarantined.append(
        Quarantined(
            path=os.fsencode(path.encode("utf-8", "replace").decode()),
            label="",
            reason=SEVERAL_LABELS if labels else NO_LABEL,
            detail=", ".join(sorted(labels)),
        )
    )


def conclude(table: Table, path: str, what: str) -> Table:
    """Tells how many images were left out.

    Args:
      what: an image needs exactly one of, such as "category".

    Raises:
      DataError: all of them.
    """
    out = table.quarantined
    if not out:
        return table
    none = sum(q.reason == NO_LABEL for q in out)
    text = (
        f"{path}: of {len(table.rows) + len(out)} images {none} have no {what} and "
        f"{len(out) - none} several, and exactly one is needed: give them one, or remove them"
    )
    if not table.rows:
        raise DataError(f"{text}.")
    table.notices.append(f"{text}; they are in quarantine (data.max_quarantine_fraction).")
    return table
