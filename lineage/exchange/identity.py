"""What makes two nodes the same one, whichever store they are in and whatever their ids.

A node with a name: its type and name, which MLMD keeps unique.  One without: its type,
URI and time of creation, and its place among those alike, in the order of ids.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.record.artifacts import IMPORTED
from lineage.exchange.portable import KINDS, TYPE_KINDS, Record
from lineage.store.sql import Query, batches, id_list, times

Identity = tuple[Any, ...]
TypeKey = tuple[str, str, str]
"""Kind, name and version ("" where there is none)."""


class Identities:
    """Gives nodes their identity; they must come in the order of their ids."""

    def __init__(self) -> None:
        self._alike: Counter[Identity] = Counter()

    def of(self, type_: TypeKey, name: str | None, uri: str | None, created: int) -> Identity:
        if name:
            return (*type_, name)
        plain = (*type_, uri or "", created)
        self._alike[plain] += 1
        return (*plain, self._alike[plain])


def external_id(identity: Identity) -> str:
    """Returns the unique id that an imported node without a name gets, so that none is doubled."""
    text = json.dumps(identity, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A node in the store."""

    id: int
    updated: int
    imported: bool
    """Written by an import, and not by a pipeline."""


@dataclass(slots=True)
class Inventory:
    """What is in the store that is imported into."""

    types: dict[TypeKey, dict[str, int]] = field(default_factory=dict)
    """The numbers of their properties' types, by name."""
    nodes: dict[tuple[str, Identity], Present] = field(default_factory=dict)
    """By kind and identity."""
    external: dict[tuple[str, str], Present] = field(default_factory=dict)

    @classmethod
    def of(cls, query: Query) -> Inventory:
        inventory = cls()
        keys: dict[int, TypeKey] = {}
        for id_, kind, name, version in query("SELECT id, type_kind, name, version FROM Type", []):
            keys[id_] = (TYPE_KINDS[kind], name, version or "")
            inventory.types[keys[id_]] = {}
        for id_, name, number in query("SELECT type_id, name, data_type FROM TypeProperty", []):
            if id_ in keys:
                inventory.types[keys[id_]][name] = number
        for kind in KINDS:
            inventory._read(query, kind, keys)
        return inventory

    def find(self, kind: str, identity: Identity, external: str | None) -> Present | None:
        return self.nodes.get((kind, identity)) or self.external.get((kind, external or ""))

    def _read(self, query: Query, kind: str, keys: Mapping[int, TypeKey]) -> None:
        table = kind.capitalize()
        sql = f"SELECT {kind}_id, string_value FROM {table}Property WHERE name = ?"
        original = {row[0]: row[1] for row in query(sql, [IMPORTED])}
        uri = ", uri" if kind == "artifact" else ""
        rows = query(
            "SELECT id, type_id, name, external_id, create_time_since_epoch, "
            f"last_update_time_since_epoch{uri} FROM {table} ORDER BY id",
            [],
        )
        identities = Identities()
        # What an interrupted import left is in the same order as in its file.
        for id_, type_id, name, external, created, updated, *more in rows:
            created, updated = times({IMPORTED: original.get(id_)}, created, updated)
            identity = identities.of(
                keys.get(type_id, (kind, "", "")), name, more[0] if more else None, created
            )
            present = Present(id=id_, updated=updated, imported=id_ in original)
            self.nodes[kind, identity] = present
            if external:
                self.external[kind, external] = present


def events_of(query: Query, execution_ids: list[int]) -> set[tuple[int, int, int]]:
    """Returns execution, artifact and type's number of the events of executions."""
    sql = "SELECT execution_id, artifact_id, type FROM Event WHERE execution_id IN ({})"
    return {
        (row[0], row[1], row[2])
        for ids in batches(execution_ids)
        for row in query(sql.format(id_list(ids)), [])
    }


def parent_contexts(query: Query) -> set[tuple[int, int]]:
    """Returns pairs of child and parent."""
    rows = query("SELECT context_id, parent_context_id FROM ParentContext", [])
    return {(r[0], r[1]) for r in rows}


def type_key(record: Record) -> TypeKey:
    return (record["kind"], record["name"], record["version"] or "")
