"""Everything in a store, or in a part of it, as records of `lineage.exchange.portable`."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.record.artifacts import IMPORTED
from lineage.exchange import portable
from lineage.exchange.identity import parent_contexts
from lineage.exchange.portable import EVENT_TYPES, KINDS, PROPERTY_TYPES, TYPE_KINDS, Record
from lineage.store.reader import SCHEMA_VERSION, Reader
from lineage.store.records import ARTIFACT_STATES, EXECUTION_STATES
from lineage.store.sql import STRUCT, Query, batches, id_list, times

OWN_ID = "visionline:"
"""What the external ids begin with that `lineage import` gives to nodes without one."""
_STATES = {"artifact": ARTIFACT_STATES, "execution": EXECUTION_STATES}
_MORE = {"artifact": ", state, uri", "execution": ", last_known_state", "context": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Ids of what is exported; with it goes what joins these."""

    artifacts: frozenset[int]
    executions: frozenset[int]
    contexts: frozenset[int]


def dump_of(reader: Reader, part: Selection | None, about: str | None) -> Iterator[bytes]:
    """Yields the lines of an export.

    Args:
      part: what is exported; None: everything.
      about: what the part is about, for people.
    """
    header = {
        "format": portable.FORMAT,
        "mlmd_schema_version": SCHEMA_VERSION,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "about": about,
    }
    yield portable.line(header)
    counts: Counter[str] = Counter()
    for kind, value in _Dump(reader.query, part).records():
        counts[kind] += 1
        yield portable.line({kind: value})
    yield portable.line({"end": dict(counts)})


class _Dump:
    def __init__(self, query: Query, part: Selection | None) -> None:
        self._query = query
        # The ids are read first: what a pipeline writes meanwhile is left out with all
        # that joins it.
        self._ids = {
            kind: sorted(r[0] for r in query(f"SELECT id FROM {kind.capitalize()}", []))
            for kind in KINDS
        }
        if part is not None:
            contexts = self._with_parents(part.contexts)
            wanted = (part.artifacts, part.executions, contexts)
            for kind, ids in zip(KINDS, wanted, strict=True):
                self._ids[kind] = [i for i in self._ids[kind] if i in ids]
        self._all = part is None
        self._members = {kind: set(ids) for kind, ids in self._ids.items()}

    def records(self) -> Iterator[tuple[str, Any]]:
        yield from (("type", type_) for type_ in self._types())
        for kind in ("context", "artifact", "execution"):
            for ids in batches(self._ids[kind]):
                yield from ((kind, node) for node in self._nodes(kind, ids))
        for ids in batches(self._ids["execution"]):
            yield from (("event", event) for event in self._events(ids))
        yield from (("association", pair) for pair in self._pairs("Association", "execution"))
        yield from (("attribution", pair) for pair in self._pairs("Attribution", "artifact"))
        contexts = self._members["context"]
        parents = (p for p in parent_contexts(self._query) if contexts.issuperset(p))
        yield from (("parent", pair) for pair in sorted(parents))

    def _with_parents(self, contexts: Collection[int]) -> set[int]:
        parents = defaultdict(set)
        for child, parent in parent_contexts(self._query):
            parents[child].add(parent)
        closed: set[int] = set()
        new = set(contexts)
        while new:
            closed |= new
            new = set[int]().union(*(parents[c] for c in new)) - closed
        return closed

    def _types(self) -> Iterator[Record]:
        properties: dict[int, dict[str, str]] = defaultdict(dict)
        for type_id, name, number in self._query(
            "SELECT type_id, name, data_type FROM TypeProperty ORDER BY type_id, name", []
        ):
            properties[type_id][name] = PROPERTY_TYPES[number or 0]
        rows = self._query(
            "SELECT id, name, version, type_kind, description, input_type, output_type, "
            "external_id FROM Type ORDER BY id",
            [],
        )
        names = {r[0]: r[1] for r in rows}
        parents = self._query("SELECT type_id, parent_type_id FROM ParentType", [])
        bases = {row[0]: row[1] for row in parents}
        used = {
            row[0]
            for kind in KINDS
            for ids in batches(self._ids[kind])
            for row in self._query(
                f"SELECT DISTINCT type_id FROM {kind.capitalize()} WHERE id IN ({id_list(ids)})", []
            )
        }
        for id_, name, version, number, description, input_, output, external_id in rows:
            if self._all or id_ in used:
                yield {
                    "id": id_,
                    "kind": TYPE_KINDS[number],
                    "name": name,
                    "version": version or None,
                    "description": description or None,
                    "external_id": external_id or None,
                    "base": names.get(bases.get(id_, 0)),
                    "input": json.loads(input_) if input_ else None,
                    "output": json.loads(output) if output else None,
                    "properties": properties[id_],
                }

    def _nodes(self, kind: str, ids: list[int]) -> Iterator[Record]:
        custom: dict[int, Record] = defaultdict(dict)
        declared: dict[int, Record] = defaultdict(dict)
        table, owner = kind.capitalize(), f"{kind}_id"
        for id_, name, is_custom, *values in self._query(
            f"SELECT {owner}, name, is_custom_property, int_value, double_value, string_value, "
            f"proto_value, bool_value FROM {table}Property WHERE {owner} IN ({id_list(ids)}) "
            f"ORDER BY {owner}, name",
            [],
        ):
            value = _value(*values)
            if value is not None:
                (custom if is_custom else declared)[id_][name] = value
        rows = self._query(
            "SELECT id, type_id, name, external_id, create_time_since_epoch, "
            f"last_update_time_since_epoch{_MORE[kind]} FROM {table} "
            f"WHERE id IN ({id_list(ids)}) ORDER BY id",
            [],
        )
        for id_, type_id, name, external_id, created, updated, *more in rows:
            own = not external_id or external_id.startswith(OWN_ID)
            imported = {IMPORTED: custom[id_].pop(IMPORTED, {}).get("string")}
            created, updated = times(imported, created, updated)
            node = {
                "id": id_,
                "type": type_id,
                "name": name or None,
                "external_id": None if own else external_id,
                "created": created,
                "updated": updated,
                "properties": declared[id_],
                "custom": custom[id_],
            }
            if more:
                node["state"] = _STATES[kind][more[0] or 0]
            if kind == "artifact":
                node["uri"] = more[1] or ""
            yield node

    def _events(self, execution_ids: list[int]) -> Iterator[Record]:
        rows = self._query(
            "SELECT id, execution_id, artifact_id, type, milliseconds_since_epoch FROM Event "
            f"WHERE execution_id IN ({id_list(execution_ids)}) AND type > 0 ORDER BY id",
            [],
        )
        artifacts = self._members["artifact"]
        rows = [r for r in rows if r[2] in artifacts and r[3] < len(EVENT_TYPES)]
        paths: dict[int, list[str | int]] = defaultdict(list)
        for ids in batches([r[0] for r in rows]):
            for event, is_index, index, key in self._query(
                "SELECT event_id, is_index_step, step_index, step_key FROM EventPath "
                f"WHERE event_id IN ({id_list(ids)})",
                [],
            ):
                paths[event].append((index or 0) if is_index else (key or ""))
        for id_, execution, artifact, number, time in rows:
            yield {
                "execution": execution,
                "artifact": artifact,
                "type": EVENT_TYPES[number],
                "path": paths[id_],
                "time": time,
            }

    def _pairs(self, table: str, other: str) -> Iterator[list[int]]:
        """Yields rows of a table that joins contexts with something, in order."""
        contexts, others = self._members["context"], self._members[other]
        # Few contexts may join much, and much may be joined by a few: whichever is less.
        by = "context" if self._all else other
        sql = f"SELECT context_id, {other}_id FROM {table} WHERE {by}_id IN ({{}})"
        for ids in batches(self._ids[by]):
            rows = self._query(sql.format(id_list(ids)), [])
            yield from sorted([a, b] for a, b in rows if a in contexts and b in others)


def _value(
    int_value: int | None,
    double_value: float | None,
    string_value: str | None,
    proto_value: Any,
    bool_value: Any,
) -> Record | None:
    if string_value is not None:
        return (
            _struct(string_value) if string_value.startswith(STRUCT) else {"string": string_value}
        )
    if int_value is not None:
        return {"int": int_value}
    if double_value is not None:
        return {"double": float(double_value)}
    if proto_value is not None:  # MLMD stores it as text, in a column of bytes
        text = proto_value if isinstance(proto_value, str) else bytes(proto_value).decode()
        return {"proto": text}
    return None if bool_value is None else {"bool": bool(bool_value)}


def _struct(text: str) -> Record:
    """Returns a struct as JSON; its bytes in base64 where JSON cannot hold it."""
    from google.protobuf import json_format, struct_pb2
    from google.protobuf.message import DecodeError

    try:
        message = struct_pb2.Struct.FromString(base64.b64decode(text[len(STRUCT) :], validate=True))
    except (ValueError, DecodeError):
        return {"string": text}  # a text that happens to begin so
    try:
        return {"struct": json.loads(json_format.MessageToJson(message, sort_keys=True))}
    except (ValueError, json_format.SerializeToJsonError):  # an infinity
        plain = message.SerializeToString(deterministic=True)
        return {"struct": base64.b64encode(plain).decode()}
