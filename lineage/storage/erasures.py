"""Erasures in the metadata store: which images were withdrawn, and what used them.

An erasure is a context of type `visionline_erasure`, attributed to the models that used
the images and to the datasets that were removed.  It is no property of those artifacts:
properties are part of TFX's cache keys.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from common.files import digest
from common.process.user import user
from lineage.store.connection import Connection
from lineage.store.reader import Reader
from lineage.store.writing import open_store

ERASURE = "visionline_erasure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Images that were withdrawn, and what became of their copies."""

    name: str
    who: str | None
    when: str | None
    """ISO 8601, UTC."""
    reason: str | None
    sha256: tuple[str, ...]
    models: Mapping[int, str]
    """What each model did with the images (`image_uses.Use`), by its artifact id."""
    removed: tuple[int, ...]
    """Artifact ids of the datasets that were removed for it."""


def erasures(reader: Reader) -> tuple[Erasure, ...]:
    """All of a store, the newest first."""
    found = []
    for context in reader.latest_contexts(ERASURE):
        try:
            models = json.loads(str(context.get("models")))
            found.append(
                Erasure(
                    name=context.name or "",
                    who=_text(context.get("who")),
                    when=_text(context.get("when")),
                    reason=_text(context.get("reason")),
                    sha256=tuple(json.loads(str(context.get("sha256")))),
                    models={int(k): str(v) for k, v in models.items()},
                    removed=tuple(json.loads(str(context.get("removed")))),
                )
            )
        except (ValueError, TypeError, AttributeError):
            continue  # somebody else's context of that type
    return tuple(found)


def record_erasure(
    connection: Connection,
    sha256: Collection[str],
    models: Mapping[int, str],
    removed: Collection[int],
    reason: str,
) -> str:
    """Records an erasure; a second one of the same images is added to the first.

    Returns:
      The erasure's name.

    Raises:
      StoreError: the store cannot be written.
    """
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    name = f"erasure-{digest(sorted(sha256))[:16]}"
    with open_store(connection) as store:
        context = store.get_context_by_type_and_name(ERASURE, name)
        before: list[int] = []
        if context is None:
            type_id = store.put_context_type(mlmd.ContextType(name=ERASURE))
            context = mlmd.Context(type_id=type_id, name=name)
        else:
            before = json.loads(context.custom_properties["removed"].string_value)
            models = json.loads(context.custom_properties["models"].string_value) | {
                str(k): v for k, v in models.items()
            }
        for key, value in {
            "who": user(),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "reason": reason or context.custom_properties["reason"].string_value,
            "sha256": json.dumps(sorted(sha256)),
            "models": json.dumps({str(k): v for k, v in models.items()}),
            "removed": json.dumps(sorted({*before, *removed})),
        }.items():
            context.custom_properties[key].string_value = value
        context.id = int(store.put_contexts([context])[0])
        known = {a.id for a in store.get_artifacts_by_context(context.id)}
        new = {*map(int, models), *removed} - known
        store.put_attributions_and_associations(
            [mlmd.Attribution(artifact_id=i, context_id=context.id) for i in sorted(new)], []
        )
    return name


def _text(value: object) -> str | None:
    return str(value) if value else None
