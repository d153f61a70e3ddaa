"""PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from common.errors import StoreError
from lineage.store.backends.base import (
    Database,
    hide,
    missing,
    refused,
    restore,
    unreachable,
    unreadable,
)
from lineage.store.connection import Connection
from lineage.store.sql import Row

_CONNECT_SECONDS = 10
_INDEXED = 255
"""Characters of a property that are indexed."""
_LOCK = 0x7669736C
"""An advisory lock's key; any number that others do not use."""
_MAINTENANCE = "postgres"
"""The database that is there on every server."""
PLAIN = "ML Metadata's client speaks no TLS; the server must let the user in without"
_READ_ONLY = "-c default_transaction_read_only=on"


class _PostgreSql(Database):
    TABLES = (
        "SELECT lower(tablename) FROM pg_catalog.pg_tables "
        "WHERE schemaname = ANY (current_schemas(false))"
    )

    def query(self, sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
        statement = sql.replace("%", "%%").replace("?", "%s").encode()
        values = tuple(hide(p) if isinstance(p, str) else p for p in parameters)
        try:
            rows = self._raw.execute(statement, values).fetchall()
        except psycopg.Error as e:
            raise unreadable(self._where, _reason(e)) from None
        return [tuple(restore(v) if isinstance(v, str) else v for v in row) for row in rows]


def connect(connection: Connection) -> Database:
    return _PostgreSql(_connect(connection, connection.database, _READ_ONLY), str(connection))


def check_suitable(database: Database, connection: Connection) -> None:
    ((encoding,),) = database.query("SHOW server_encoding", [])
    if encoding != "UTF8":
        raise StoreError(
            f"The database {connection.database!r} has the encoding {encoding}; expected UTF8. "
            f"Name another database: the first run makes it."
        )
    ((allowed,),) = database.query("SELECT has_schema_privilege(current_schema(), 'CREATE')", [])
    if not allowed and not database.tables():
        raise StoreError(
            f"The user {connection.user!r} may not make tables in the database "
            f"{connection.database!r}. Let an administrator run:\n"
            f'  ALTER DATABASE {connection.database} OWNER TO "{connection.user}";'
        )


def create(connection: Connection) -> None:
    command = f"CREATE DATABASE \"{connection.database}\" ENCODING 'UTF8' TEMPLATE template0"
    with _connect(connection, _MAINTENANCE) as raw:
        try:
            raw.execute(command.encode())
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            pass  # another run was faster
        except psycopg.Error as e:
            raise StoreError(
                f"The user {connection.user!r} may not make the database "
                f"{connection.database!r} ({_reason(e)}). Let an administrator run:\n"
                f'  CREATE DATABASE "{connection.database}" OWNER "{connection.user}" '
                "ENCODING 'UTF8' TEMPLATE template0;"
            ) from None


def adapt(connection: Connection) -> None:
    """Lets properties be longer than 2,700 bytes.

    MLMD indexes their whole text, which PostgreSQL refuses beyond; as on MySQL, the
    beginning will do.
    """
    with _connect(connection, connection.database) as raw, raw.transaction():
        rows = raw.execute(
            b"SELECT indexname, tablename FROM pg_catalog.pg_indexes "
            b"WHERE schemaname = current_schema() AND indexdef LIKE '%, string_value)'"
        ).fetchall()
        statements = [
            f"DROP INDEX {index}; CREATE INDEX {index} ON {table} "
            f"(name, is_custom_property, left(string_value, {_INDEXED}));"
            for index, table in rows
        ]
        try:
            for statement in statements:
                raw.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege as e:
            raise StoreError(
                f"The database {connection.database!r} takes only short texts, and the user "
                f"{connection.user!r} may not change that ({_reason(e)}). Let its owner run:\n  "
                + "\n  ".join(statements)
            ) from None


@contextmanager
def setting_up(connection: Connection) -> Iterator[None]:
    with _connect(connection, connection.database) as raw:
        raw.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield  # the server frees it as the connection ends


def _connect(connection: Connection, database: str, options: str = "") -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            password=connection.password or None,
            dbname=database,
            connect_timeout=_CONNECT_SECONDS,
            autocommit=True,
            options=options,
            prepare_threshold=None,
        )
    except psycopg.Error as e:
        # Before there is a connection, the text is all that there is.
        reason = _reason(e)
        if f'database "{database}" does not exist' in reason:
            raise missing(connection) from None
        if any(word in reason for word in ("authentication", "password", "pg_hba.conf", "role")):
            raise refused(connection, reason) from None
        raise unreachable(connection, reason) from None


def _reason(error: psycopg.Error) -> str:
    """Returns the last part of the text: the server's own words."""
    first = str(error).strip().splitlines()[0]
    return first.rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
