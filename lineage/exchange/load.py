"""Writes an export into a store, new or not, through MLMD's own library.

Nothing is written before the whole file was checked.  Nodes that the store has
already, by `lineage.exchange.identity`, are not written again, so an import that was
interrupted can be repeated, and exports that overlap can be imported one after another.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import StoreError
from common.files import sync_directory
from common.record.artifacts import IMPORTED
from lineage.exchange import portable
from lineage.exchange.dump import OWN_ID
from lineage.exchange.identity import (
    Identities,
    Inventory,
    Present,
    events_of,
    external_id,
    parent_contexts,
    type_key,
)
from lineage.exchange.portable import (
    EVENT_TYPES,
    KINDS,
    PROPERTY_TYPES,
    REFERENCES,
    Record,
)
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.sql import Query

_BATCH = 500
_NOTHING = "Nothing was imported."


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    added: int = 0
    shared: int = 0
    """The store had them already."""
    updated: int = 0
    """Of an earlier import, and newer in this file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did."""

    store: str
    created: bool
    """The store is new."""
    contexts: Count
    artifacts: Count
    executions: Count
    events: Count


def load(path: Path, connection: Connection) -> Imported:
    """Imports a file.

    Raises:
      ExportError: the file cannot be imported; nothing was written.
      StoreError: the store cannot be opened or written, or has a type of the same
        name whose properties are of other types.
    """
    from lineage.store.mlmd import open_mlmd
    from lineage.store.setup import make_ready

    types = portable.check(path)
    place = connection.path
    if place is not None and (not place.exists() or place.stat().st_size == 0):
        return _into_new(path, types, connection, place)
    if place is None:
        make_ready(connection)
    with contextlib.closing(open_reader(connection)) as reader:
        inventory = Inventory.of(reader.query)
        _refuse_conflicts(types, inventory, reader.where)
        plan = _Plan.of(path, types, inventory, reader.query)
    with _trouble(connection, "Some of it may be in the store; import it again to go on."):
        return _Import(types, plan, open_mlmd(connection)).run(path, str(connection))


def _into_new(
    path: Path, types: dict[int, Record], connection: Connection, place: Path
) -> Imported:
    """Imports into a file beside the store's place, which takes its name when it is whole."""
    from lineage.store.mlmd import open_mlmd

    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    plan = _Plan.of(path, types, Inventory(), None)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with _trouble(connection, _NOTHING):
            store = open_mlmd(replace(connection, path=temporary))
            done = _Import(types, plan, store).run(path, str(connection))
            del store  # closes it
        os.replace(temporary, place)
        sync_directory(place.parent)
    except OSError as e:
        raise StoreError(f"Cannot write {place}: {e.strerror}. {_NOTHING}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return replace(done, created=True)


@contextlib.contextmanager
def _trouble(connection: Connection, after: str) -> Iterator[None]:
    from ml_metadata import errors

    try:
        yield
    except (errors.StatusError, RuntimeError) as e:
        raise StoreError(
            f"Cannot write to {connection}: {str(e).splitlines()[0]}. {after}"
        ) from None


def _refuse_conflicts(types: dict[int, Record], inventory: Inventory, where: str) -> None:
    for record in types.values():
        there = inventory.types.get(type_key(record), {})
        for name, wanted in record["properties"].items():
            if name in there and PROPERTY_TYPES[there[name]] != wanted:
                raise StoreError(
                    f"The {record['kind']} type {record['name']} has a property {name!r} of type "
                    f"{PROPERTY_TYPES[there[name]]} in {where}, and of type {wanted} in the file. "
                    f"{_NOTHING} Import it into a store of its own, with --metadata."
                )


@dataclass(slots=True)
class _Plan:
    """What of the file is in the store already."""

    nodes: dict[str, dict[int, Present]] = field(default_factory=lambda: {k: {} for k in KINDS})
    """By id in the file."""
    external: dict[str, dict[int, str]] = field(default_factory=lambda: {k: {} for k in KINDS})
    """By id in the file, of nodes that have neither a name nor an external id."""
    events: set[tuple[int, int, int]] = field(default_factory=set)
    parents: set[tuple[int, int]] = field(default_factory=set)

    @classmethod
    def of(
        cls, path: Path, types: dict[int, Record], inventory: Inventory, query: Query | None
    ) -> _Plan:
        plan, identities = cls(), Identities()
        keys = {id_: type_key(record) for id_, record in types.items()}
        for kind, value in portable.read(path):
            if kind not in KINDS:
                continue
            identity = identities.of(
                keys[value["type"]], value["name"], value.get("uri"), value["created"]
            )
            external = value["external_id"]
            if external is None and not value["name"]:
                external = OWN_ID + external_id(identity)
                plan.external[kind][value["id"]] = external
            present = inventory.find(kind, identity, external)
            if present is not None:
                plan.nodes[kind][value["id"]] = present
        if query is not None:
            plan.events = events_of(query, [p.id for p in plan.nodes["execution"].values()])
            plan.parents = parent_contexts(query)
        return plan


class _Import:
    """One import into an open store."""

    def __init__(self, types: dict[int, Record], plan: _Plan, store: Any) -> None:
        self._types_in_file = types
        self._plan = plan
        self._store = store
        self._types: dict[int, int] = {}
        self._ids: dict[str, dict[int, int]] = {kind: {} for kind in KINDS}
        """Ids in the store by those in the file."""
        self._batch: list[tuple[int, Any]] = []
        """Ids in the file, and messages; of one kind."""
        self._counts: dict[str, Counter[str]] = {k: Counter() for k in (*KINDS, "event")}

    def run(self, path: Path, where: str) -> Imported:
        self._put_types()
        last = ""
        for kind, value in portable.read(path):
            if kind != last or len(self._batch) >= _BATCH:
                self._flush(last)
            last = kind
            if kind in KINDS:
                self._node(kind, value)
            elif kind != "type":
                self._edge(kind, value)
        self._flush(last)
        counts = {f"{kind}s": Count(**counter) for kind, counter in self._counts.items()}
        return Imported(store=where, created=False, **counts)

    def _put_types(self) -> None:
        there = {
            (kind, t.name, t.version): t
            for kind in KINDS
            for t in getattr(self._store, f"get_{kind}_types")()
        }
        for id_, record in self._types_in_file.items():
            type_ = there.get(type_key(record))
            if type_ is not None and record["properties"].keys() <= set(type_.properties):
                self._types[id_] = type_.id
                continue
            put = getattr(self._store, f"put_{record['kind']}_type")
            self._types[id_] = put(_type(record), can_add_fields=True, can_omit_fields=True)

    def _node(self, kind: str, value: Record) -> None:
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        present = self._plan.nodes[kind].get(value["id"])
        if present is not None:
            self._ids[kind][value["id"]] = present.id
            if not present.imported or value["updated"] <= present.updated:
                self._counts[kind]["shared"] += 1
                return
        self._counts[kind]["added" if present is None else "updated"] += 1
        if kind == "artifact":
            value = self._pointing(value)
        message = getattr(mlmd, kind.capitalize())(
            id=present.id if present else None,
            type_id=self._types[value["type"]],
            name=value["name"],
            external_id=value["external_id"] or self._plan.external[kind].get(value["id"]),
        )
        if kind == "artifact":
            message.uri = value["uri"]
            message.state = message.State.Value(value["state"])
        elif kind == "execution":
            message.last_known_state = message.State.Value(value["state"])
        slots = {"properties": message.properties, "custom": message.custom_properties}
        for group, of_group in slots.items():
            for name, property_ in value[group].items():
                _set(of_group[name], property_)
        times = {"created": value["created"], "updated": value["updated"]}
        message.custom_properties[IMPORTED].string_value = json.dumps(times)
        self._batch.append((value["id"], message))

    def _pointing(self, value: Record) -> Record:
        """Returns an artifact whose references are ids in the store; without those to nowhere."""
        value = dict(value)
        for group in ("properties", "custom"):
            kept = {}
            for name, property_ in value[group].items():
                if name in REFERENCES and "int" in property_:
                    if property_["int"] in {id_ for id_, _ in self._batch}:
                        self._flush("artifact")  # its id is there then
                    target = self._ids["artifact"].get(property_["int"])
                    if target is None:
                        continue
                    property_ = {"int": target}
                kept[name] = property_
            value[group] = kept
        return value

    def _edge(self, kind: str, value: Any) -> None:
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        ids = self._ids
        if kind == "event":
            event = mlmd.Event(
                execution_id=ids["execution"][value["execution"]],
                artifact_id=ids["artifact"][value["artifact"]],
                type=EVENT_TYPES.index(value["type"]),
            )
            if value["time"] is not None:
                event.milliseconds_since_epoch = value["time"]
            for step in value["path"]:
                event.path.steps.add(**{"key" if isinstance(step, str) else "index": step})
            there = (event.execution_id, event.artifact_id, event.type) in self._plan.events
            self._counts["event"]["shared" if there else "added"] += 1
            if not there:
                self._batch.append((0, event))
        elif kind == "parent":
            child, parent = (ids["context"][i] for i in value)
            if (child, parent) not in self._plan.parents:
                message = mlmd.ParentContext(child_id=child, parent_id=parent)
                self._batch.append((0, message))
        else:
            edge_type, other = {
                "association": (mlmd.Association, "execution"),
                "attribution": (mlmd.Attribution, "artifact"),
            }[kind]
            ends = {"context_id": ids["context"][value[0]], f"{other}_id": ids[other][value[1]]}
            self._batch.append((0, edge_type(**ends)))

    def _flush(self, kind: str) -> None:
        messages = [message for _, message in self._batch]
        if not messages:
            return
        if kind in KINDS:
            new = getattr(self._store, f"put_{kind}s")(messages)
            for (old, _), id_ in zip(self._batch, new, strict=True):
                self._ids[kind][old] = id_
        elif kind == "event":
            self._store.put_events(messages)
        elif kind == "parent":
            self._store.put_parent_contexts(messages)
        else:
            both = ([], messages) if kind == "association" else (messages, [])
            self._store.put_attributions_and_associations(*both)
        self._batch.clear()


def _type(record: Record) -> Any:
    from google.protobuf import json_format
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    texts = {k: record[k] or None for k in ("name", "version", "description", "external_id")}
    message = getattr(mlmd, f"{record['kind'].capitalize()}Type")(**texts)
    for name, type_ in record["properties"].items():
        message.properties[name] = PROPERTY_TYPES.index(type_)
    if record["base"]:
        base = record["base"].removeprefix("mlmd.").upper()
        message.base_type = message.SystemDefinedBaseType.Value(base)
    for name in ("input", "output"):
        if record[name]:
            json_format.ParseDict(record[name], getattr(message, f"{name}_type"))
    return message


def _set(slot: Any, property_: Record) -> None:
    from google.protobuf import json_format

    ((kind, value),) = property_.items()
    if kind == "struct" and isinstance(value, dict):
        slot.struct_value.SetInParent()
        json_format.ParseDict(value, slot.struct_value)
    elif kind == "struct":
        slot.struct_value.ParseFromString(base64.b64decode(value))
    elif kind == "proto":
        slot.proto_value.ParseFromString(base64.b64decode(value))
    else:
        setattr(slot, f"{kind}_value", value)
