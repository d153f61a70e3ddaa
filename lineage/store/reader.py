"""What reads a store: SQL on MLMD's tables, without loading `ml_metadata`.

Everything here is read-only: no reader creates, changes or upgrades a store.  It works at
one schema version of MLMD on SQLite, MySQL/MariaDB and PostgreSQL.  Tests hold it equal to
a reader by MLMD's own library.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from common.record.artifacts import IMPORTED
from lineage.store.places import HERE, Places
from lineage.store.records import (
    ARTIFACT_STATES,
    EXECUTION_STATES,
    Artifact,
    Context,
    Event,
    Execution,
    Made,
    Taken,
    Value,
)
from lineage.store.sql import BATCH, Query, Row, batches, id_list, marks, named, times, value_in

SCHEMA_VERSION = 10
"""MLMD's, of ml-metadata 1.14 to 1.17; the only one that is read."""
_CACHED = EXECUTION_STATES.index("CACHED")
_INPUTS, _OUTPUTS = (2, 3), (1, 4)
"""(DECLARED_)INPUT and (DECLARED_)OUTPUT of MLMD's Event.Type."""
_NODE = "id, type_id, name, create_time_since_epoch, last_update_time_since_epoch"
_WORKED = (
    "FROM Event e JOIN Execution x ON x.id = e.execution_id "
    f"WHERE COALESCE(x.last_known_state, 0) <> {_CACHED}"
)
"""Events of executions that were not cached."""
_MANY = 20_000
"""Ids per statement, where each statement reads a whole table."""
_FEW = 50
"""Contexts that are looked up one by one."""


class Reader:
    """Reads what the questions need to know of a store.

    Ids that are not there are left out of what is returned.  URIs and properties that are
    paths say where the files are now, see `lineage.store.places`.
    """

    def __init__(
        self, query: Query, where: str, close: Callable[[], None], places: Places = HERE
    ) -> None:
        self.query = query
        self.where = where
        """The store, for people; without password."""
        self.close = close
        self.places = places
        self._types: dict[int, str] = {}

    def artifacts(self, ids: Collection[int]) -> dict[int, Artifact]:
        return {a.id: a for a in self._artifacts("id", ids)}

    def executions(self, ids: Collection[int]) -> dict[int, Execution]:
        sql = f"SELECT {_NODE}, last_known_state FROM Execution WHERE id IN ({{}})"
        return {
            n["id"]: Execution(**n, state=named(EXECUTION_STATES, row[5]))
            for row, n in self._nodes("Execution", self._rows_in(sql, ids))
        }

    def contexts(self, ids: Collection[int]) -> dict[int, Context]:
        rows = self._rows_in(f"SELECT {_NODE} FROM Context WHERE id IN ({{}})", ids)
        return {n["id"]: Context(**n) for _, n in self._nodes("Context", rows)}

    def artifacts_by_uri(self, uri: str) -> list[Artifact]:
        """Finds artifacts by exact URI, as it is or was recorded; in the order of their ids."""
        names = list(self.places.names(uri))
        sql = f"SELECT id FROM Artifact WHERE uri IN ({marks(names)})"
        ids = [r[0] for r in self.query(sql, names)]
        return sorted(self._artifacts("id", ids), key=lambda a: a.id)

    def artifacts_by_type(
        self, type_name: str, where: Mapping[str, Value] | None = None
    ) -> list[Artifact]:
        """Finds artifacts with custom properties (strings or integers), in the order of ids."""
        if where:
            ids = {row[0] for row in self.query(*self._having(where))}
            artifacts = [a for a in self._artifacts("id", ids) if a.type == type_name]
        else:
            artifacts = list(self._artifacts("type_id", self._type_ids(type_name, 1)))
        return sorted(artifacts, key=lambda a: a.id)

    def _having(self, where: Mapping[str, Value]) -> tuple[str, list[Value]]:
        """Returns statement and parameters for the ids of artifacts with custom properties.

        The first property is looked up, the others are checked on what it finds.
        """
        conditions, parameters = list[str](), list[Value]()
        for n, (key, value) in enumerate(where.items()):
            column = "int_value" if isinstance(value, int) else "string_value"
            conditions.append(
                f"p{n}.name = ? AND p{n}.is_custom_property = {self._true} AND p{n}.{column} = ?"
                + (f" AND p{n}.artifact_id = p0.artifact_id" if n else "")
            )
            parameters += (key, value)
        tables = " CROSS JOIN ".join(f"ArtifactProperty p{n}" for n in range(len(where)))
        sql = f"SELECT p0.artifact_id FROM {tables} WHERE {' AND '.join(conditions)}"
        return sql, parameters

    def artifact_values(
        self, type_name: str, keys: Collection[str], where: Mapping[str, Value] | None = None
    ) -> dict[int, dict[str, Value]]:
        """Returns some custom properties of a type's artifacts, by id; cheaper than these."""
        types = self._type_ids(type_name, 1)
        sql = (
            "SELECT a.id, p.name, p.int_value, p.double_value, p.string_value, p.bool_value "
            "FROM Artifact a JOIN ArtifactProperty p ON p.artifact_id = a.id "
            f"AND p.is_custom_property = {self._true} AND p.name IN ({marks(keys)}) "
            f"WHERE a.type_id IN ({id_list(types)})"
        )
        parameters: list[Value] = list(keys)
        if where:
            having, values = self._having(where)
            sql += f" AND a.id IN ({having})"
            parameters += values
        return self._properties(self.query(sql, parameters))

    def context(self, type_name: str, name: str) -> Context | None:
        return self.contexts_named(type_name, [name]).get(name)

    def contexts_named(self, type_name: str, names: Collection[str]) -> dict[str, Context]:
        """Finds contexts, by name."""
        ids: list[int] = []
        for type_id in self._type_ids(type_name, 2):
            for batch in batches(sorted(names)):
                sql = f"SELECT id FROM Context WHERE type_id = ? AND name IN ({marks(batch)})"
                ids += (row[0] for row in self.query(sql, [type_id, *batch]))
        return {c.name: c for c in self.contexts(ids).values() if c.name is not None}

    def latest_contexts(
        self,
        type_name: str,
        limit: int | None = None,
        *,
        before: int | None = None,
        like: Mapping[str, Collection[str | None]] | None = None,
    ) -> list[Context]:
        """Returns the newest (by id) first; all of them without a limit.

        Args:
          before: only those with smaller ids.
          like: by custom property, the strings it may be; None: not recorded.
        """
        types = self._type_ids(type_name, 2)
        # "+": from the newest on; the index by type would have to be read whole, and sorted.
        column = "type_id" if limit is None else "+type_id"
        sql = f"SELECT id FROM Context WHERE {column} IN ({id_list(types)})"
        parameters: list[str] = []
        if before is not None:
            sql += f" AND id < {int(before)}"
        for key, values in (like or {}).items():
            strings = [v for v in values if v is not None]
            recorded = (
                "EXISTS (SELECT 1 FROM ContextProperty p WHERE p.context_id = Context.id "
                f"AND p.name = ? AND p.is_custom_property = {self._true}"
            )
            sql += f" AND ({recorded} AND p.string_value IN ({marks(strings)}))"
            parameters += [key, *strings]
            if None in values:
                sql += f" OR NOT {recorded})"
                parameters.append(key)
            sql += ")"
        sql += " ORDER BY id DESC" + ("" if limit is None else f" LIMIT {int(limit)}")
        ids = [row[0] for row in self.query(sql, parameters)]
        contexts = self.contexts(ids)
        return [contexts[i] for i in ids]

    def executions_in(self, context_ids: Collection[int]) -> dict[int, list[int]]:
        """Returns execution ids by context id, increasing."""
        executions: dict[int, list[int]] = defaultdict(list)
        sql = "SELECT context_id, execution_id FROM Association WHERE context_id IN ({})"
        for context_id, execution_id in self._rows_in(sql, context_ids):
            executions[context_id].append(execution_id)
        return {k: sorted(v) for k, v in executions.items()}

    def contexts_of(
        self, execution_ids: Collection[int], type_name: str | None = None
    ) -> dict[int, list[Context]]:
        """Returns contexts, of one type or all, by execution id, in the order of their ids.

        Takes longer the larger the store is, unless the contexts of the type are few.
        """
        # Association has no index by execution: each statement reads all of it, unless
        # it can go through a few contexts instead.
        sql = "SELECT a.execution_id, a.context_id FROM Association a WHERE a.execution_id IN ({})"
        if type_name is not None:
            types = id_list(self._type_ids(type_name, 2))
            of_type = f"SELECT c.id FROM Context c WHERE c.type_id IN ({types})"
            few = [row[0] for row in self.query(f"{of_type} LIMIT {_FEW}", [])]
            if len(few) < _FEW:
                sql += f" AND a.context_id IN ({id_list(few)})"
            else:
                sql += f" AND EXISTS ({of_type} AND c.id = a.context_id)"
        pairs = sorted(map(tuple, self._rows_in(sql, execution_ids, size=_MANY)))
        contexts = self.contexts({c for _, c in pairs})
        by_execution: dict[int, list[Context]] = defaultdict(list)
        for execution_id, context_id in pairs:
            if context_id in contexts:
                by_execution[execution_id].append(contexts[context_id])
        return dict(by_execution)

    def events(self, execution_ids: Collection[int]) -> list[Event]:
        """Returns inputs and outputs of executions, sorted."""
        sql = (
            "SELECT id, execution_id, artifact_id, type FROM Event "
            f"WHERE execution_id IN ({{}}) AND type IN ({id_list(_INPUTS + _OUTPUTS)})"
        )
        return self._events(self._rows_in(sql, execution_ids))

    def producers(self, artifact_ids: Collection[int]) -> dict[int, int]:
        """Returns the execution that made an artifact, by artifact id.

        Cached executions have output events too: the one that did the work is the
        earliest that was not cached.
        """
        sql = (
            f"SELECT e.execution_id {_WORKED} AND e.artifact_id = ? "
            f"AND e.type IN ({id_list(_OUTPUTS)}) ORDER BY e.execution_id LIMIT 1"
        )
        return {id_: row[0] for id_ in artifact_ids for row in self.query(sql, [id_])}

    def consumers(self, artifact_ids: Collection[int]) -> list[Event]:
        """Returns the inputs of executions that did work on artifacts (not cached), sorted."""
        sql = (
            f"SELECT e.id, e.execution_id, e.artifact_id, e.type {_WORKED} "
            f"AND e.artifact_id IN ({{}}) AND e.type IN ({id_list(_INPUTS)})"
        )
        return self._events(self._rows_in(sql, artifact_ids))

    def takers(self, artifact_ids: Collection[int], cut: Collection[str] = ()) -> list[Taken]:
        """Returns `consumers`, but the ids alone: there may be hundreds of thousands; sorted.

        Inputs with the keys `cut` do not count.
        """
        keys = marks(cut)
        path = f"SELECT 1 FROM EventPath p WHERE p.event_id = e.id AND p.step_key IN ({keys})"
        sql = (
            f"SELECT DISTINCT e.artifact_id, e.execution_id {_WORKED} "
            f"AND e.artifact_id IN ({{}}) AND e.type IN ({id_list(_INPUTS)})"
            + (f" AND NOT EXISTS ({path})" if cut else "")
        )
        return sorted(Taken(*row) for row in self._rows_in(sql, artifact_ids, sorted(cut)))

    def made_by(self, execution_ids: Collection[int]) -> list[Made]:
        """Returns the outputs of executions, ids and types alone; sorted."""
        sql = (
            "SELECT DISTINCT e.execution_id, e.artifact_id, a.type_id FROM Event e "
            "JOIN Artifact a ON a.id = e.artifact_id "
            f"WHERE e.execution_id IN ({{}}) AND e.type IN ({id_list(_OUTPUTS)})"
        )
        rows = self._rows_in(sql, execution_ids)
        return sorted(Made(e, a, self._type_name(type_id)) for e, a, type_id in rows)

    def values(
        self, kind: Literal["Artifact", "Execution"], ids: Collection[int], keys: Collection[str]
    ) -> dict[int, dict[str, Value]]:
        """Returns some custom properties, of those that have them."""
        owner = f"{kind.lower()}_id"
        sql = (
            f"SELECT {owner}, name, int_value, double_value, string_value, bool_value "
            f"FROM {kind}Property WHERE {owner} IN ({{}}) AND is_custom_property = "
            f"{self._true} AND name IN ({marks(keys)})"
        )
        return self._properties(self._rows_in(sql, ids, sorted(keys)))

    def all_artifacts(self) -> Iterator[Artifact]:
        """Yields artifacts in the order of their ids."""
        for ids in batches(r[0] for r in self.query("SELECT id FROM Artifact ORDER BY id", [])):
            yield from sorted(self._artifacts("id", ids), key=lambda a: a.id)

    def all_events(self) -> Iterator[Event]:
        """Yields all input and output events of the executions that there are, in any order."""
        sql = (
            "SELECT id, execution_id, artifact_id, type FROM Event "
            f"WHERE type IN ({id_list(_INPUTS + _OUTPUTS)}) "
            "AND execution_id IN (SELECT id FROM Execution) ORDER BY id"
        )
        for rows in batches(self.query(sql, [])):
            yield from self._events(rows)

    def execution_states(self) -> dict[int, str]:
        """Returns the state of every execution, by id."""
        rows = self.query("SELECT id, last_known_state FROM Execution", [])
        return {i: named(EXECUTION_STATES, s) for i, s in rows}

    # Of is_custom_property: a boolean in PostgreSQL, an integer elsewhere.
    _true = "TRUE"

    def _properties(self, rows: Iterable[Row]) -> dict[int, dict[str, Value]]:
        """Groups rows of an owner's id, a property's name and its columns by owner."""
        properties: dict[int, dict[str, Value]] = defaultdict(dict)
        for id_, name, *columns in rows:
            properties[id_][name] = value_in(*columns)
        return {id_: self.places.read(values) for id_, values in properties.items()}

    def _rows_in(
        self, sql: str, ids: Collection[int], parameters: Sequence[Any] = (), size: int = BATCH
    ) -> Iterator[Row]:
        for batch in batches(sorted(ids), size):
            yield from self.query(sql.format(id_list(batch)), parameters)

    def _type_ids(self, name: str, kind: int) -> list[int]:
        rows = self.query("SELECT id FROM Type WHERE name = ? AND type_kind = ?", [name, kind])
        return sorted(r[0] for r in rows)

    def _type_name(self, id_: int) -> str:
        if id_ not in self._types:
            self._types = {r[0]: r[1] for r in self.query("SELECT id, name FROM Type", [])}
        return self._types.get(id_, "")

    def _artifacts(self, column: str, values: Collection[int]) -> Iterator[Artifact]:
        sql = f"SELECT {_NODE}, state, uri FROM Artifact WHERE {column} IN ({{}})"
        for row, node in self._nodes("Artifact", self._rows_in(sql, values)):
            uri = self.places.here(row[6] or "")
            yield Artifact(**node, state=named(ARTIFACT_STATES, row[5]), uri=uri)

    def _nodes(self, table: str, rows: Iterable[Row]) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Rows that begin with id, type, name, created, updated; with their properties."""
        rows = list(rows)
        owner = f"{table.lower()}_id"
        properties: dict[int, dict[str, Value]] = defaultdict(dict)
        custom: dict[int, dict[str, Value]] = defaultdict(dict)
        sql = (
            f"SELECT {owner}, name, is_custom_property, int_value, double_value, string_value, "
            f"bool_value FROM {table}Property WHERE {owner} IN ({{}})"
        )
        for id_, name, is_custom, *values in self._rows_in(sql, [r[0] for r in rows]):
            (custom if is_custom else properties)[id_][name] = value_in(*values)
        for row in rows:
            id_, type_id, name, created, updated = row[:5]
            node = {"id": id_, "type": self._type_name(type_id), "name": name or None}
            node["imported"] = IMPORTED in custom[id_]
            node["created"], node["updated"] = times(custom[id_], created, updated)
            node["properties"], node["custom"] = properties[id_], self.places.read(custom[id_])
            yield row, node

    def _events(self, rows: Iterable[Row]) -> list[Event]:
        """Rows of id, execution, artifact and type."""
        rows = list(rows)
        keys: dict[int, str] = {}
        indices: dict[int, int] = {}
        sql = (
            "SELECT event_id, is_index_step, step_index, step_key FROM EventPath "
            "WHERE event_id IN ({})"
        )
        for event_id, is_index, index, key in self._rows_in(sql, [r[0] for r in rows]):
            if is_index:
                indices.setdefault(event_id, index or 0)
            else:
                keys.setdefault(event_id, key or "")
        return sorted(
            Event(
                e, a, "input" if kind in _INPUTS else "output", keys.get(i, ""), indices.get(i, 0)
            )
            for i, e, a, kind in rows
        )
