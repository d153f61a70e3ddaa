"""Writes the marks of `lineage.graph.marks`: `lineage pin` and `unpin`, and `erase`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from common.errors import NotFoundError, RunError
from common.files import digest
from common.process.user import user
from common.record.artifacts import Erasure, Pin
from common.record.kinds import ERASURE, PIN
from common.record.record import Record, annotate, annotated, value_of
from lineage.graph.marks import PINNED
from lineage.store.connection import Connection
from lineage.store.records import DELETED, Artifact
from lineage.store.setup import open_store


def pin(connection: Connection, model: Artifact, reason: str = "") -> None:
    """Pins a model; a second pin renews who, when and why.

    Raises:
      RunError: its files were removed, perhaps only now.
      StoreError: the store cannot be written.
    """
    with open_store(connection) as store:
        context = _context(store, PIN, f"{PINNED}{model.id}")
        _write(store, context, Pin(active=True, **_by(reason)))
        # Looked up after pinning: of a pin and a gc at once, one sees the other.
        (artifact,) = store.get_artifacts_by_id([model.id])
        if artifact.state == DELETED:
            _write(store, context, Pin(active=False))
            raise RunError(
                f"The files of model {model.id} ({model.uri}) were removed by "
                "`lineage gc`; there is nothing left to pin."
            )
        _attribute(store, context, [model.id])


def unpin(connection: Connection, model: Artifact) -> None:
    """Takes a model's pin away.

    Raises:
      NotFoundError: it is not pinned.
      StoreError: the store cannot be written.
    """
    with open_store(connection) as store:
        context = store.get_context_by_type_and_name(PIN, f"{PINNED}{model.id}")
        if context is None or not value_of(annotated(context), Pin.active):
            raise NotFoundError(
                f"Model {model.id} ({model.uri}) is not pinned. "
                "`lineage pins` lists those that are."
            )
        _write(store, context, Pin(active=False))


def record_erasure(
    connection: Connection,
    sha256: Collection[str],
    models: Mapping[int, str],
    removed: Collection[int],
    reason: str,
) -> str:
    """Records an erasure and returns its name; adds a second one of the same images to the first.

    Raises:
      StoreError: the store cannot be written.
    """
    name = f"erasure-{digest(sorted(sha256))[:16]}"
    with open_store(connection) as store:
        context = _context(store, ERASURE, name)
        before = Erasure.read(annotated(context))
        used = (before.models or {}) | {str(k): v for k, v in models.items()}
        mark = Erasure(
            **_by(reason or before.reason or ""),
            sha256=sorted(sha256),
            models=used,
            removed=sorted({*(before.removed or ()), *removed}),
        )
        _write(store, context, mark)
        _attribute(store, context, {*map(int, used), *removed})
    return name


def _context(store: Any, type_name: str, name: str) -> Any:
    """Returns a mark's context; a new one, not yet in the store, where there is none."""
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    context = store.get_context_by_type_and_name(type_name, name)
    if context is not None:
        return context
    type_id = store.put_context_type(mlmd.ContextType(name=type_name))
    return mlmd.Context(type_id=type_id, name=name)


def _by(reason: str) -> dict[str, str]:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"who": user(), "when": when, "reason": reason}


def _write(store: Any, context: Any, mark: Record) -> None:
    annotate(context, mark)
    (context.id,) = store.put_contexts([context])


def _attribute(store: Any, context: Any, artifact_ids: Collection[int]) -> None:
    """Attributes a mark to artifacts that it isn't attributed to yet."""
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    already = {a.id for a in store.get_artifacts_by_context(context.id)}
    new = sorted({*artifact_ids} - already)
    attributions = [mlmd.Attribution(artifact_id=i, context_id=context.id) for i in new]
    store.put_attributions_and_associations(attributions, [])
