"""Erasures in the metadata store: which images were withdrawn, and what used them.

An erasure is a context of type `visionline_erasure`, attributed to the models that used
the images and to the datasets that were removed.  It is no property of those artifacts:
properties are part of TFX's cache keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from common.files import digest
from common.process.user import user
from common.record.artifacts import Erasure as Recorded
from common.record.kinds import ERASURE
from common.record.record import annotate, annotated
from lineage.store.connection import Connection
from lineage.store.reader import Reader
from lineage.store.writing import open_store


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
        recorded = Recorded.read(context)
        if recorded.sha256 is None or recorded.models is None or recorded.removed is None:
            continue  # somebody else's context of that type
        found.append(
            Erasure(
                name=context.name or "",
                who=recorded.who,
                when=recorded.when,
                reason=recorded.reason,
                sha256=tuple(recorded.sha256),
                models={int(k): str(v) for k, v in recorded.models.items()},
                removed=tuple(recorded.removed),
            )
        )
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
        if context is None:
            type_id = store.put_context_type(mlmd.ContextType(name=ERASURE))
            context = mlmd.Context(type_id=type_id, name=name)
        before = Recorded.read(annotated(context))
        uses = (before.models or {}) | {str(k): v for k, v in models.items()}
        erasure = Recorded(
            who=user(),
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=reason or before.reason,
            sha256=sorted(sha256),
            models=uses,
            removed=sorted({*(before.removed or ()), *removed}),
        )
        annotate(context, erasure)
        context.id = int(store.put_contexts([context])[0])
        known = {a.id for a in store.get_artifacts_by_context(context.id)}
        new = {*map(int, uses), *removed} - known
        store.put_attributions_and_associations(
            [mlmd.Attribution(artifact_id=i, context_id=context.id) for i in sorted(new)], []
        )
    return name
