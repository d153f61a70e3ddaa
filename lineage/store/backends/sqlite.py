"""SQLite, a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.errors import NoDatabaseError, StoreError
from lineage.store.backends.base import Database, unreadable
from lineage.store.connection import Connection
from lineage.store.sql import Row

_BUSY_SECONDS = 30


class _Sqlite(Database):
    TABLES = "SELECT lower(name) FROM sqlite_master WHERE type = 'table'"

    def query(self, sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
        try:
            rows: Sequence[Row] = self._raw.execute(sql, parameters).fetchall()
            return rows
        except sqlite3.Error as e:
            raise unreadable(self._where, self._explain(e)) from None

    def _explain(self, error: sqlite3.Error) -> str:
        if Path(f"{self._where}-journal").exists():
            return (
                f"{error}. A process that wrote to it was killed; the next run, which may "
                "write, puts it in order"
            )
        return str(error)


def connect(connection: Connection) -> Database:
    path = connection.path
    assert path is not None
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as e:
        raise unreadable(path, e.strerror) from None
    if size is None:
        if path.exists():
            raise StoreError(f"{path} is a folder, not a metadata store.")
        raise NoDatabaseError(f"No metadata store at {path}. Name the output folder with --output.")
    if size == 0:
        raise NoDatabaseError(f"{path} is empty: no pipeline has written to it yet.")
    try:
        return _Sqlite(_opened(path, "ro"), str(path))
    except sqlite3.Error as e:
        raise unreadable(path, e) from None


def check_suitable(database: Database, connection: Connection) -> None:
    assert connection.path is not None
    for path in (connection.path, connection.path.parent):  # a journal comes and goes beside it
        if not os.access(path, os.W_OK):
            raise StoreError(f"The metadata store {connection.path} cannot be written to: {path}.")


def create(connection: Connection) -> None:
    assert connection.path is not None
    try:
        connection.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StoreError(
            f"Cannot make the folder of the metadata store {connection.path}: {e.strerror}."
        ) from None


def adapt(connection: Connection) -> None:
    pass  # MLMD's tables take whatever is recorded


@contextmanager
def setting_up(connection: Connection) -> Iterator[None]:
    """Keeps others from nothing: the tables are made in one transaction.

    Opened to write, SQLite undoes what a killed writer left undone.
    """
    path = connection.path
    assert path is not None
    if path.is_file():
        try:
            with closing(_opened(path, "rw")) as raw:
                raw.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.Error as e:
            raise unreadable(path, e) from None
    yield


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    """Opens a file without transactions: each statement locks for itself alone."""
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
