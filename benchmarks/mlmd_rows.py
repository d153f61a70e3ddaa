"""Rows of an ML Metadata store on SQLite, written in bulk.

MLMD's library writes some hundred executions a second; a store of 50,000 runs has
450,000.  So the library makes the empty store and its types, in a process of its own
(one file must not be open in both libraries), and `Rows` inserts the rest as it would.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

INPUT, OUTPUT, INTERNAL_OUTPUT = 3, 4, 5
"""Of MLMD's Event.Type."""
COMPLETE, FAILED, CACHED = 3, 4, 5
"""Of MLMD's Execution.State."""
LIVE = 2
"""Of MLMD's Artifact.State."""

Properties = Mapping[str, Any]
_TIMES = ("create_time_since_epoch", "last_update_time_since_epoch")
_VALUES = ("name", "is_custom_property", "int_value", "double_value", "string_value")
_TABLES: dict[str, tuple[str, ...]] = {
    "Context": ("id", "type_id", "name", *_TIMES),
    "ContextProperty": ("context_id", *_VALUES),
    "Execution": ("id", "type_id", "last_known_state", "name", *_TIMES),
    "ExecutionProperty": ("execution_id", *_VALUES),
    "Artifact": ("id", "type_id", "uri", "state", *_TIMES),
    "ArtifactProperty": ("artifact_id", *_VALUES),
    "Event": ("id", "artifact_id", "execution_id", "type", "milliseconds_since_epoch"),
    "EventPath": ("event_id", "is_index_step", "step_index", "step_key"),
    "Association": ("context_id", "execution_id"),
    "Attribution": ("context_id", "artifact_id"),
}
_ROWS = 100_000
"""Kept before they are written."""
_KINDS = {"execution": 0, "artifact": 1, "context": 2}
"""MLMD's type_kind."""
_MAKE_STORE = """
import json, sys
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
path, types = sys.argv[1], json.loads(sys.argv[2])
config = mlmd.ConnectionConfig()
config.sqlite.filename_uri = path
config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
store = metadata_store.MetadataStore(config)
for kind, name, base, properties in types:
    message = {"artifact": mlmd.ArtifactType, "execution": mlmd.ExecutionType,
               "context": mlmd.ContextType}[kind](name=name, properties=properties)
    if base:
        message.base_type = base
    getattr(store, f"put_{kind}_type")(message)
"""

Type = tuple[str, str, int, dict[str, int]]
"""Kind, name, number of MLMD's base type or 0, number of the data type by property."""


class Rows:
    """A new store that is filled in bulk.  Ids are given here, increasing.

    Args:
      path: of the SQLite file; must not be there.
    """

    def __init__(self, path: Path, types: Sequence[Type]) -> None:
        if path.exists():
            raise SystemExit(f"{path} is there already; it would not be a new store.")
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-c", _MAKE_STORE, str(path), json.dumps(types)], check=True
        )
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
            self._database.execute(f"PRAGMA {pragma}")
        rows = self._database.execute("SELECT type_kind, name, id FROM Type")
        self._types = {(kind, name): id_ for kind, name, id_ in rows}
        self._indices = [
            (name, sql)
            for name, sql in self._database.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            )
        ]
        for name, _ in self._indices:
            self._database.execute(f"DROP INDEX {name}")
        self._database.execute("BEGIN")
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
        self._last = dict.fromkeys(("Context", "Execution", "Artifact", "Event"), 0)

    def close(self) -> None:
        """Writes what is left, and the indices."""
        for table in _TABLES:
            self._flush(table)
        for _, sql in self._indices:
            self._database.execute(sql)
        self._database.execute("COMMIT")
        self._database.close()

    def reserve(self, table: str) -> int:
        """An id for a row that is written later."""
        self._last[table] += 1
        return self._last[table]

    def context(
        self,
        kind: str,
        name: str,
        created: int,
        updated: int,
        custom: Properties | None = None,
        *,
        id_: int | None = None,
    ) -> int:
        id_ = self.reserve("Context") if id_ is None else id_
        self._add("Context", (id_, self._types[2, kind], name, created, updated))
        self._properties("Context", id_, custom or {}, 1)
        return id_

    def execution(
        self,
        kind: str,
        state: int,
        name: str,
        created: int,
        updated: int,
        custom: Properties,
        *,
        id_: int,
    ) -> None:
        self._add("Execution", (id_, self._types[0, kind], state, name, created, updated))
        self._properties("Execution", id_, custom, 1)

    def artifact(
        self, kind: str, uri: str, created: int, custom: Properties, properties: Properties
    ) -> int:
        id_ = self.reserve("Artifact")
        self._add("Artifact", (id_, self._types[1, kind], uri, LIVE, created, created))
        self._properties("Artifact", id_, custom, 1)
        self._properties("Artifact", id_, properties, 0)
        return id_

    def event(self, execution: int, artifact: int, kind: int, key: str, when: int) -> None:
        id_ = self.reserve("Event")
        self._add("Event", (id_, artifact, execution, kind, when))
        self._add("EventPath", (id_, 0, None, key))
        self._add("EventPath", (id_, 1, 0, None))

    def associate(self, context: int, execution: int) -> None:
        self._add("Association", (context, execution))

    def attribute(self, context: int, artifact: int) -> None:
        """Again is no error."""
        self._add("Attribution", (context, artifact))

    def _properties(self, table: str, owner: int, values: Properties, custom: int) -> None:
        for name, value in values.items():
            columns = (
                (value, None, None)
                if isinstance(value, int)
                else (None, value, None)
                if isinstance(value, float)
                else (None, None, value)
            )
            self._add(f"{table}Property", (owner, name, custom, *columns))

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= _ROWS:
            self._flush(table)

    def _flush(self, table: str) -> None:
        columns = _TABLES[table]
        self._database.executemany(
            f"INSERT {'OR IGNORE ' if table == 'Attribution' else ''}INTO {table} "
            f"({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            self._rows[table],
        )
        self._rows[table].clear()
