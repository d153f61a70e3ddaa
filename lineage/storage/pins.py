"""`lineage pin`, `unpin`, `pins`: models that are kept because someone says so.

A pin is a context of type `visionline_pin`, named `model-<artifact id>` and
attributed to the model.  It is no property of the model: those are part of TFX's
cache keys.  MLMD deletes no contexts, so what is unpinned has `active` = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.errors import RunError
from common.process.user import user
from common.record.artifacts import Pin as Recorded
from common.record.kinds import PIN
from common.record.record import annotate, annotated, value_of
from lineage.store.connection import Connection
from lineage.store.reader import NotFoundError, Reader
from lineage.store.records import Artifact
from lineage.store.writing import open_store

_PREFIX = "model-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A pinned model."""

    model_id: int
    """Artifact id."""
    uri: str | None
    """Of the model's files; None when the model is not in the store."""
    who: str | None
    when: str | None
    """ISO 8601, UTC."""
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    pins: tuple[Pin, ...]
    """The newest first."""


def pins(reader: Reader) -> Pins:
    """The pins that hold now."""
    found = {}
    for context in reader.latest_contexts(PIN):
        number = (context.name or "").removeprefix(_PREFIX)
        if number.isdecimal() and value_of(context, Recorded.active):
            found[int(number)] = Recorded.read(context)
    models = reader.artifacts(found.keys())
    return Pins(
        pins=tuple(
            Pin(
                model_id=id_,
                uri=models[id_].uri if id_ in models else None,
                who=recorded.who,
                when=recorded.when,
                reason=recorded.reason,
            )
            for id_, recorded in found.items()
        )
    )


def pin(connection: Connection, model: Artifact, reason: str = "") -> None:
    """Pins a model; a second pin renews who, when and why.

    Raises:
      RunError: its files were removed, perhaps only now.
      StoreError: the store cannot be written.
    """
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    with open_store(connection) as store:
        context = store.get_context_by_type_and_name(PIN, _PREFIX + str(model.id))
        if context is None:
            type_id = store.put_context_type(mlmd.ContextType(name=PIN))
            context = mlmd.Context(type_id=type_id, name=_PREFIX + str(model.id))
        annotate(context, Recorded(who=user(), when=_now(), reason=reason))
        context.id = _activate(store, context, True)
        # Looked up after pinning: of a pin and a gc at once, one sees the other.
        (found,) = store.get_artifacts_by_id([model.id])
        if found.state == mlmd.Artifact.DELETED:
            _activate(store, context, False)
            raise RunError(
                f"The files of model {model.id} ({model.uri}) were removed by "
                "`lineage gc`; there is nothing left to pin."
            )
        attribution = mlmd.Attribution(artifact_id=model.id, context_id=context.id)
        store.put_attributions_and_associations([attribution], [])


def unpin(connection: Connection, model: Artifact) -> None:
    """Takes a model's pin away.

    Raises:
      NotFoundError: it is not pinned.
      StoreError: the store cannot be written.
    """
    with open_store(connection) as store:
        context = store.get_context_by_type_and_name(PIN, _PREFIX + str(model.id))
        if context is None or not value_of(annotated(context), Recorded.active):
            raise NotFoundError(
                f"Model {model.id} ({model.uri}) is not pinned. "
                "`lineage pins` lists those that are."
            )
        _activate(store, context, False)


def _activate(store: Any, context: Any, active: bool) -> int:
    """Writes a pin; returns the context's id."""
    annotate(context, Recorded(active=active))
    return int(store.put_contexts([context])[0])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
