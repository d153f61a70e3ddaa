"""MySQL and MariaDB."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymysql

from common.errors import StoreError
from lineage.store.backends.base import Database, missing, refused, unreachable, unreadable
from lineage.store.connection import Connection
from lineage.store.sql import Row

_CONNECT_SECONDS = 10
_LOCK_SECONDS = 120
_COLLATION = "utf8mb4_bin"
_EXACT = re.compile(r"(utf8mb4|utf8mb3|utf8|latin1)_(.*_)?(bin|cs)")
"""Collations that tell upper from lower case and keep every character."""
LOGIN = (
    "ML Metadata's client logs in with mysql_native_password alone; docs/metadata-stores.md "
    "says how to make such a user"
)
_REFUSED = (1044, 1045, 1130, 1698)
_NO_DATABASE = 1049


class _MySql(Database):
    TABLES = (
        "SELECT lower(table_name) FROM information_schema.tables WHERE table_schema = DATABASE()"
    )

    def query(self, sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
        try:
            with self._raw.cursor() as cursor:
                cursor.execute(sql.replace("%", "%%").replace("?", "%s"), tuple(parameters))
                rows: Sequence[Row] = cursor.fetchall()
                return rows
        except pymysql.Error as e:
            raise unreadable(self._where, _reason(e)) from None


def connect(connection: Connection) -> Database:
    raw = _connect(connection, connection.database)
    with raw.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
    return _MySql(raw, str(connection))


def check_suitable(database: Database, connection: Connection) -> None:
    name = connection.database
    ((default,),) = database.query(
        "SELECT default_collation_name FROM information_schema.schemata "
        "WHERE schema_name = DATABASE()",
        [],
    )
    columns = database.query(
        "SELECT DISTINCT table_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND collation_name IS NOT NULL ORDER BY table_name",
        [],
    )
    wrong = {table: collation for table, collation in columns if not _EXACT.fullmatch(collation)}
    if wrong or not _EXACT.fullmatch(default):
        change = f"CHARACTER SET utf8mb4 COLLATE {_COLLATION};"
        commands = [f"ALTER DATABASE `{name}` {change}"]
        commands += [f"ALTER TABLE `{name}`.`{t}` CONVERT TO {change}" for t in wrong]
        collation = next(iter(wrong.values()), default)
        raise StoreError(
            f"The database {name!r} has the collation {collation}, to which names like RunA and "
            f"runa can be one; expected {_COLLATION}. Let its owner run:\n  "
            + "\n  ".join(commands)
        )
    ((engine,),) = database.query("SELECT @@default_storage_engine", [])
    if engine != "InnoDB":
        raise StoreError(
            f"The server at {connection.host}:{connection.port} makes tables with the storage "
            f"engine {engine}; ML Metadata needs transactions. Set default_storage_engine=InnoDB."
        )


def create(connection: Connection) -> None:
    change = f"CHARACTER SET utf8mb4 COLLATE {_COLLATION}"
    command = f"CREATE DATABASE IF NOT EXISTS `{connection.database}` {change}"
    with closing(_connect(connection, None)) as raw, raw.cursor() as cursor:
        try:
            cursor.execute(command)
        except pymysql.Error as e:
            raise StoreError(
                f"The user {connection.user!r} may not make the database "
                f"{connection.database!r} ({_reason(e)}). Let an administrator run:\n"
                f"  {command};\n  GRANT ALL ON `{connection.database}`.* TO "
                f"'{connection.user}'@'%';"
            ) from None


def adapt(connection: Connection) -> None:
    pass  # MLMD's tables take whatever is recorded


@contextmanager
def setting_up(connection: Connection) -> Iterator[None]:
    with closing(_connect(connection, connection.database)) as raw, raw.cursor() as cursor:
        lock = f"visionline.{connection.database}"[:64]
        cursor.execute("SELECT GET_LOCK(%s, %s)", (lock, _LOCK_SECONDS))
        if cursor.fetchone() != (1,):
            raise StoreError(
                f"Another process has been setting up {connection} for {_LOCK_SECONDS} seconds."
            )
        yield  # the server frees it as the connection ends


def _connect(connection: Connection, database: str | None) -> Any:
    try:
        raw = pymysql.Connection(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            password=connection.password,
            database=database,
            connect_timeout=_CONNECT_SECONDS,
            autocommit=True,
            charset="latin1",
            defer_connect=True,
        )
        # MLMD's client says latin1 as it connects, and sends UTF-8.  So do we, or text
        # would not be read as it was written.
        raw.set_character_set = lambda *_: None
        raw.encoding = "utf-8"
        raw.connect()
        return raw
    except pymysql.Error as e:
        code = e.args[0] if e.args else None
        if code == _NO_DATABASE:
            raise missing(connection) from None
        if code in _REFUSED:
            raise refused(connection, _reason(e)) from None
        raise unreachable(connection, _reason(e)) from None
    except RuntimeError as e:  # a way to log in that the driver lacks a package for
        raise refused(connection, f"{e}. {LOGIN}") from None


def _reason(error: pymysql.Error) -> str:
    return str(error.args[-1] if error.args else error).rstrip(".")
