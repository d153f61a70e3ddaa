"""Marks that people leave in a store: pinned models, and erasures of images.

A mark is a context of a type of its own, attributed to the artifacts that it is about.  It
is no property of those: properties are part of TFX's cache keys.  `lineage.storage.marking`
writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.record import artifacts as record
from common.record.kinds import ERASURE, PIN
from lineage.store.reader import Reader

PINNED = "model-"
"""Begins a pin's name, before the model's artifact id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    who: str | None
    when: str | None
    """ISO 8601, UTC."""
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(_Mark):
    """A pinned model."""

    model_id: int
    """Artifact id."""
    uri: str | None
    """Of the model's files; None when the model is not in the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    pins: tuple[Pin, ...]
    """The newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure(_Mark):
    """Images that were withdrawn, and what became of their copies."""

    name: str
    sha256: tuple[str, ...]
    models: Mapping[int, str]
    """What each model did with the images (`images.uses.Use`), by its artifact id."""
    removed: tuple[int, ...]
    """Artifact ids of the datasets that were removed for it."""


def pins(reader: Reader) -> Pins:
    """The pins that hold now."""
    recorded = {}
    for context in reader.latest_contexts(PIN):
        number = (context.name or "").removeprefix(PINNED)
        mark = record.Pin.read(context)
        if number.isdecimal() and mark.active:
            recorded[int(number)] = mark
    models = reader.artifacts(recorded.keys())
    return Pins(
        pins=tuple(
            Pin(model_id=id_, uri=models[id_].uri if id_ in models else None, **_by(mark))
            for id_, mark in recorded.items()
        )
    )


def erasures(reader: Reader) -> tuple[Erasure, ...]:
    """All of a store, the newest first."""
    marks = [(c.name or "", record.Erasure.read(c)) for c in reader.latest_contexts(ERASURE)]
    return tuple(
        Erasure(
            name=name,
            **_by(mark),
            sha256=tuple(mark.sha256),
            models={int(k): str(v) for k, v in mark.models.items()},
            removed=tuple(mark.removed),
        )
        for name, mark in marks  # of another kind where it is somebody else's
        if mark.sha256 is not None and mark.models is not None and mark.removed is not None
    )


def _by(mark: record.Pin | record.Erasure) -> dict[str, str | None]:
    """Who left a mark, when and why."""
    return {"who": mark.who, "when": mark.when, "reason": mark.reason}
