"""Marks that people leave in a store: pinned models, and erasures of images.

A mark is a context of a type of its own, attributed to the artifacts that it is about.  It
is no property of those: properties are part of TFX's cache keys.  `lineage.storage.marking`
writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lineage.store.reader import Reader
from lineage.store.records import Context

ERASURE, PIN = "visionline_erasure", "visionline_pin"
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
    """The pins that hold now; MLMD deletes no contexts, so what is unpinned has `active` = 0."""
    contexts = {}
    for context in reader.latest_contexts(PIN):
        number = (context.name or "").removeprefix(PINNED)
        if number.isdecimal() and context.custom.get("active"):
            contexts[int(number)] = context
    models = reader.artifacts(contexts.keys())
    return Pins(
        pins=tuple(
            Pin(model_id=id_, uri=models[id_].uri if id_ in models else None, **_by(context))
            for id_, context in contexts.items()
        )
    )


def erasures(reader: Reader) -> tuple[Erasure, ...]:
    """All of a store, the newest first."""
    found = []
    for context in reader.latest_contexts(ERASURE):
        try:
            models = json.loads(str(context.get("models")))
            found.append(
                Erasure(
                    name=context.name or "",
                    **_by(context),
                    sha256=tuple(json.loads(str(context.get("sha256")))),
                    models={int(k): str(v) for k, v in models.items()},
                    removed=tuple(json.loads(str(context.get("removed")))),
                )
            )
        except (ValueError, TypeError, AttributeError):
            continue  # somebody else's context of that type
    return tuple(found)


def _by(context: Context) -> dict[str, str | None]:
    """Who left a mark, when and why."""
    values = {key: context.custom.get(key) for key in ("who", "when", "reason")}
    return {key: str(value) if value else None for key, value in values.items()}
