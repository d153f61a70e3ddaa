"""The reference that `lineage.store.reader` is held against: a reader by MLMD's own library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, cast

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as mlmd

from common.record.artifacts import IMPORTED
from lineage.store import opening
from lineage.store.connection import Connection
from lineage.store.places import HERE, Places
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Event, Execution, Made, Taken, Value
from lineage.store.sql import times

_INPUTS = (mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT)
_OUTPUTS = (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT)

Via = Literal["sql", "mlmd"]


def open_reader(connection: Connection, via: Via = "sql") -> Reader:
    """Opens a store for reading only, as `lineage.store.opening.open_reader` or by MLMD."""
    reader = opening.open_reader(connection)  # MLMD would make what is not there
    if via == "sql":
        return reader
    reader.close()
    from lineage.store.mlmd import open_mlmd

    store = open_mlmd(connection, readonly=True)
    return cast(Reader, ApiReader(store, str(connection), connection.places))


class ApiReader:
    """See `lineage.store.reader.Reader`."""

    def __init__(self, store: Any, where: str, places: Places = HERE) -> None:
        self._store = store
        self._where = where
        self.places = places
        kinds = (store.get_artifact_types, store.get_execution_types, store.get_context_types)
        self._types = {t.id: t.name for kind in kinds for t in kind()}

    @property
    def where(self) -> str:
        return self._where

    def close(self) -> None:
        self._store = None  # it closes as it is collected

    def artifacts(self, ids: Collection[int]) -> dict[int, Artifact]:
        return {a.id: self._artifact(a) for a in self._store.get_artifacts_by_id(sorted(ids))}

    def executions(self, ids: Collection[int]) -> dict[int, Execution]:
        return {e.id: self._execution(e) for e in self._store.get_executions_by_id(sorted(ids))}

    def contexts(self, ids: Collection[int]) -> dict[int, Context]:
        return {c.id: self._context(c) for c in self._store.get_contexts_by_id(sorted(ids))}

    def artifacts_by_uri(self, uri: str) -> list[Artifact]:
        names = self.places.names(uri)
        found = [self._artifact(a) for n in names for a in self._store.get_artifacts_by_uri(n)]
        return sorted(found, key=lambda a: a.id)

    def artifacts_by_type(
        self, type_name: str, where: Mapping[str, Value] | None = None
    ) -> list[Artifact]:
        found = [
            self._artifact(a)
            for a in self._store.get_artifacts_by_type(type_name)
            if all(_has(a, key, value) for key, value in (where or {}).items())
        ]
        return sorted(found, key=lambda a: a.id)

    def artifact_values(
        self, type_name: str, keys: Collection[str], where: Mapping[str, Value] | None = None
    ) -> dict[int, dict[str, Value]]:
        found = {
            a.id: {k: v for k, v in a.custom.items() if k in keys}
            for a in self.artifacts_by_type(type_name, where)
        }
        return {id_: values for id_, values in found.items() if values}

    def context(self, type_name: str, name: str) -> Context | None:
        found = self._store.get_context_by_type_and_name(type_name, name)
        return None if found is None else self._context(found)

    def contexts_named(self, type_name: str, names: Collection[str]) -> dict[str, Context]:
        found = {name: self.context(type_name, name) for name in names}
        return {name: context for name, context in found.items() if context is not None}

    def latest_contexts(
        self,
        type_name: str,
        limit: int | None = None,
        *,
        before: int | None = None,
        like: Mapping[str, Collection[str | None]] | None = None,
    ) -> list[Context]:
        wanted = [
            self._context(c)
            for c in self._store.get_contexts_by_type(type_name)
            if (before is None or c.id < before)
            and all(_may_be(c, key, values) for key, values in (like or {}).items())
        ]
        return sorted(wanted, key=lambda c: -c.id)[:limit]

    def executions_in(self, context_ids: Collection[int]) -> dict[int, list[int]]:
        found = {
            c: sorted(e.id for e in _there(self._store.get_executions_by_context, c))
            for c in sorted(context_ids)
        }
        return {k: v for k, v in found.items() if v}

    def contexts_of(
        self, execution_ids: Collection[int], type_name: str | None = None
    ) -> dict[int, list[Context]]:
        found = {}
        for id_ in sorted(execution_ids):
            contexts = _there(self._store.get_contexts_by_execution, id_)
            wanted = (c for c in map(self._context, contexts) if type_name in (None, c.type))
            found[id_] = sorted(wanted, key=lambda c: c.id)
        return {k: v for k, v in found.items() if v}

    def events(self, execution_ids: Collection[int]) -> list[Event]:
        return sorted(
            map(_event, filter(_is_ours, self._store.get_events_by_execution_ids(execution_ids)))
        )

    def producers(self, artifact_ids: Collection[int]) -> dict[int, int]:
        events = self._store.get_events_by_artifact_ids(sorted(artifact_ids))
        outputs = [e for e in events if e.type in _OUTPUTS]
        cached = self._cached({e.execution_id for e in outputs})
        found: dict[int, list[int]] = defaultdict(list)
        for event in outputs:
            if event.execution_id not in cached:
                found[event.artifact_id].append(event.execution_id)
        return {artifact: min(executions) for artifact, executions in found.items()}

    def consumers(self, artifact_ids: Collection[int]) -> list[Event]:
        events = self._store.get_events_by_artifact_ids(sorted(artifact_ids))
        inputs = [e for e in events if e.type in _INPUTS]
        cached = self._cached({e.execution_id for e in inputs})
        return sorted(_event(e) for e in inputs if e.execution_id not in cached)

    def takers(self, artifact_ids: Collection[int], cut: Collection[str] = ()) -> list[Taken]:
        events = self.consumers(artifact_ids)
        return sorted({Taken(e.artifact_id, e.execution_id) for e in events if e.key not in cut})

    def made_by(self, execution_ids: Collection[int]) -> list[Made]:
        outputs = [e for e in self.events(execution_ids) if e.kind == "output"]
        made = self.artifacts({e.artifact_id for e in outputs})
        return sorted(
            {
                Made(e.execution_id, e.artifact_id, made[e.artifact_id].type)
                for e in outputs
                if e.artifact_id in made
            }
        )

    def values(
        self, kind: Literal["Artifact", "Execution"], ids: Collection[int], keys: Collection[str]
    ) -> dict[int, dict[str, Value]]:
        nodes = self.artifacts(ids) if kind == "Artifact" else self.executions(ids)
        found = {n.id: {k: v for k, v in n.custom.items() if k in keys} for n in nodes.values()}
        return {k: v for k, v in found.items() if v}

    def all_artifacts(self) -> Iterator[Artifact]:
        yield from sorted(map(self._artifact, self._store.get_artifacts()), key=lambda a: a.id)

    def all_events(self) -> Iterator[Event]:
        yield from self.events([e.id for e in self._store.get_executions()])

    def execution_states(self) -> dict[int, str]:
        return {
            e.id: mlmd.Execution.State.Name(e.last_known_state)
            for e in self._store.get_executions()
        }

    def _cached(self, execution_ids: Collection[int]) -> set[int]:
        """Those of the executions that were cached, or are not there."""
        found = self._store.get_executions_by_id(sorted(execution_ids))
        worked = {e.id for e in found if e.last_known_state != mlmd.Execution.CACHED}
        return set(execution_ids) - worked

    def _artifact(self, a: Any) -> Artifact:
        uri = self.places.here(a.uri)
        return Artifact(**self._node(a), uri=uri, state=mlmd.Artifact.State.Name(a.state))

    def _execution(self, e: Any) -> Execution:
        return Execution(**self._node(e), state=mlmd.Execution.State.Name(e.last_known_state))

    def _context(self, c: Any) -> Context:
        return Context(**self._node(c))

    def _node(self, node: Any) -> dict[str, Any]:
        custom = _values(node.custom_properties)
        created, updated = times(
            custom, node.create_time_since_epoch, node.last_update_time_since_epoch
        )
        return {
            "id": node.id,
            "type": self._types.get(node.type_id, ""),
            "name": node.name or None,
            "created": created,
            "updated": updated,
            "properties": _values(node.properties),
            "custom": self.places.read(custom),
            "imported": IMPORTED in node.custom_properties,
        }


def _there(get: Callable[[int], list[Any]], id_: int) -> list[Any]:
    """What is got by an id; nothing where there is no such id."""
    try:
        return get(id_)
    except errors.NotFoundError:
        return []


def _has(node: Any, key: str, value: Value) -> bool:
    """Whether a custom property is this string or integer; 1.0 and true are not 1."""
    if key not in node.custom_properties:
        return False
    slot = node.custom_properties[key]
    kind = "int_value" if isinstance(value, int) else "string_value"
    return slot.WhichOneof("value") == kind and bool(getattr(slot, kind) == value)


def _may_be(node: Any, key: str, values: Collection[str | None]) -> bool:
    """Whether a custom property is one of these; None: there is none."""
    if key not in node.custom_properties:
        return None in values
    return any(_has(node, key, v) for v in values if v is not None)


def _is_ours(event: Any) -> bool:
    return event.type in _INPUTS + _OUTPUTS


def _event(event: Any) -> Event:
    keys = [s.key for s in event.path.steps if s.WhichOneof("value") == "key"]
    indices = [s.index for s in event.path.steps if s.WhichOneof("value") == "index"]
    return Event(
        execution_id=event.execution_id,
        artifact_id=event.artifact_id,
        kind="input" if event.type in _INPUTS else "output",
        key=keys[0] if keys else "",
        index=indices[0] if indices else 0,
    )


def _values(properties: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in properties.items():
        kind = value.WhichOneof("value")
        if kind in (None, "proto_value"):
            found[key] = None
        elif kind == "struct_value":
            fields = _fields(value.struct_value)
            found[key] = fields["__value__"] if set(fields) == {"__value__"} else fields
        else:
            found[key] = getattr(value, kind)
    return found


def _fields(struct: Any) -> dict[str, Value]:
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Any) -> Value:
    """Of a google.protobuf.Value."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _fields(value.struct_value)
    if kind == "list_value":
        return [_plain(v) for v in value.list_value.values]
    plain: Value = None if kind in (None, "null_value") else getattr(value, kind)
    return plain
