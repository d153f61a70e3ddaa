"""The databases that a store can be in; what differs between them is here and nowhere else.

One module each, with the same functions (`Backend`): `sqlite`, `mysql`, `postgresql`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from common.extras import require_installed
from lineage.store.connection import PASSWORD_VARIABLE, Connection
from lineage.store.reader import SCHEMA_VERSION, StoreError
from lineage.store.sql import Row


class UnreachableError(StoreError):
    """Nothing answers, or too busily; it may a little later."""


class NoDatabaseError(StoreError):
    """The server answers, and has no such database; or there is no such file."""


class Database(Protocol):
    """An open connection that only reads."""

    def query(self, sql: str, parameters: Sequence[Any]) -> Iterable[Row]:
        """Runs a SELECT with "?" for its parameters.

        Raises:
          StoreError: it failed.
        """
        ...

    def tables(self) -> set[str]:
        """Their names in lower case."""
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    def connect(self, connection: Connection) -> Database:
        """Connects to a database that is there.

        Raises:
          UnreachableError, NoDatabaseError, StoreError: it cannot be opened.
        """
        ...

    def check_suitable(self, database: Database, connection: Connection) -> None:
        """Whether MLMD may write to it.

        Raises:
          StoreError: no; says what to do.
        """
        ...

    def create(self, connection: Connection) -> None:
        """Makes the database, empty, where it is missing."""
        ...

    def adapt(self, connection: Connection) -> None:
        """Changes of MLMD's tables what would refuse what pipelines record."""
        ...

    def setting_up(self, connection: Connection) -> AbstractContextManager[None]:
        """Keeps others from making the tables at the same time."""
        ...


def backend(connection: Connection) -> Backend:
    """Returns the module of a connection's database.

    Raises:
      ConfigError: its client is not installed.
    """
    if connection.kind == "mysql":
        require_installed("A store on MySQL", "visionline[mysql]", ["pymysql"])
        from lineage.store.backends import mysql

        return mysql
    if connection.kind == "postgresql":
        require_installed("A store on PostgreSQL", "visionline[postgresql]", ["psycopg"])
        from lineage.store.backends import postgresql

        return postgresql
    from lineage.store.backends import sqlite

    return sqlite


def connect(connection: Connection) -> Database:
    """See `Backend.connect`."""
    return backend(connection).connect(connection)


def check_readable(database: Database, where: str) -> None:
    """Checks that a database is a store of the version that is read.

    Raises:
      StoreError: it is empty, something else, or of another version.
    """
    tables = database.tables()
    if not tables:
        raise StoreError(f"{where} is empty: no pipeline has written to it yet.")
    if "mlmdenv" not in tables:
        raise StoreError(f"{where} is a database, but not one of ML Metadata.")
    versions = [r[0] for r in database.query("SELECT schema_version FROM MLMDEnv", [])]
    if not versions:
        raise StoreError(
            f"{where} has no schema version yet: a pipeline is setting it up, or was stopped "
            "while it did. Try again; if it stays so, remove it."
        )
    if versions != [SCHEMA_VERSION]:
        raise StoreError(
            f"{where} has schema version {', '.join(map(str, versions))} of ML Metadata; this "
            f"visionline works with version {SCHEMA_VERSION}. Nothing was changed. Upgrade the "
            "store with the ml-metadata library that fits it, or use the visionline that "
            "wrote it."
        )


def refused(connection: Connection, reason: str) -> StoreError:
    """The server did not let the user in."""
    given = "is set" if connection.password else "is not set"
    return StoreError(
        f"The server at {connection.host}:{connection.port} refused the user "
        f"{connection.user!r}: {reason}. The password is taken from the environment variable "
        f"{PASSWORD_VARIABLE}, which {given}."
    )


def unreachable(connection: Connection, reason: str) -> UnreachableError:
    return UnreachableError(
        f"No metadata store answers at {connection.host}:{connection.port}: {reason}. Is the "
        "server running, and are host and port right?"
    )


def missing(connection: Connection) -> NoDatabaseError:
    return NoDatabaseError(
        f"The server at {connection.host}:{connection.port} has no database "
        f"{connection.database!r}. The first run with --metadata {connection} makes it."
    )


def unreadable(where: object, reason: object) -> StoreError:
    return StoreError(f"Cannot read the metadata store {where}: {reason}.")
