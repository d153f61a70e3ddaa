"""Questions about what is recorded in ML Metadata, and their answers.

A library: it returns dataclasses and prints nothing.  It imports neither TFX nor
TensorFlow, and `ml_metadata` only where it writes.  Its rooms, each on those above it:

    store      which store, what it holds, how it is read and written
    graph      who made what of what, what people call things, and the facts of each
    images     which datasets hold an image, and where its copies lie
    questions  models, runs, versions, verdicts, and how two of them differ
    cache      why a step was done again, or was not
    storage    what is needed, removed, erased, pinned, and whether files are as recorded
    exchange   exported to a file, imported from one, and told as OpenLineage
    drawing    the picture of a model's lineage

The questions are here, such as `lineage.diff(reader, a, b)` with a reader of
`lineage.open_reader`; a room is loaded when one of its questions is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineage.cache.explain import explain_cache as explain_cache
    from lineage.questions.affected import affected_by as affected_by
    from lineage.questions.affected import affected_by_span as affected_by_span
    from lineage.questions.affected_images import affected_by_images as affected_by_images
    from lineage.questions.diff import diff as diff
    from lineage.questions.history import history as history
    from lineage.questions.model import model_lineage as model_lineage
    from lineage.questions.rollback_candidates import rollback_candidates as rollback_candidates
    from lineage.questions.run_detail import run_detail as run_detail
    from lineage.questions.runs import list_runs as list_runs
    from lineage.questions.served import served as served
    from lineage.questions.verdicts import why_not_blessed as why_not_blessed
    from lineage.storage.verify import verify as verify
    from lineage.store.connection import Connection as Connection
    from lineage.store.locate import locate as locate
    from lineage.store.opening import open_reader as open_reader

_DOOR = {
    "cache.explain": ("explain_cache",),
    "questions.affected": ("affected_by", "affected_by_span"),
    "questions.affected_images": ("affected_by_images",),
    "questions.diff": ("diff",),
    "questions.history": ("history",),
    "questions.model": ("model_lineage",),
    "questions.rollback_candidates": ("rollback_candidates",),
    "questions.run_detail": ("run_detail",),
    "questions.runs": ("list_runs",),
    "questions.served": ("served",),
    "questions.verdicts": ("why_not_blessed",),
    "storage.verify": ("verify",),
    "store.connection": ("Connection",),
    "store.locate": ("locate",),
    "store.opening": ("open_reader",),
}
"""What the front door shows, by the module that has it."""


def __getattr__(name: str) -> Any:
    module = next((m for m, names in _DOOR.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
