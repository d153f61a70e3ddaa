"""What each database that a store can be in must do, and the errors that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from common.errors import NoDatabaseError, StoreError, UnreachableError
from lineage.store.connection import PASSWORD_VARIABLE, Connection
from lineage.store.sql import Row


class Database(ABC):
    """An open connection that only reads."""

    TABLES = ""
    """Selects the names of all tables, in lower case."""

    def __init__(self, raw: Any, where: str) -> None:
        self._raw = raw
        self._where = where
        self.close = raw.close

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
        """Runs a SELECT with "?" for its parameters.

        Raises:
          StoreError: it failed.
        """

    def tables(self) -> set[str]:
        return {str(row[0]) for row in self.query(self.TABLES, [])}


class Backend(Protocol):
    def connect(self, connection: Connection) -> Database:
        """Connects to a database that is there.

        Raises:
          UnreachableError, NoDatabaseError, StoreError: it cannot be opened.
        """

    def check_suitable(self, database: Database, connection: Connection) -> None:
        """Checks that MLMD may write to it.

        Raises:
          StoreError: no; says what to do.
        """

    def create(self, connection: Connection) -> None:
        """Makes the database, empty, where it is missing."""

    def adapt(self, connection: Connection) -> None:
        """Changes of MLMD's tables what would refuse what pipelines record."""

    def setting_up(self, connection: Connection) -> AbstractContextManager[None]:
        """Keeps others from making the tables at the same time."""


STAND_IN = "\ue05c"
"""Stands for a backslash in PostgreSQL's tables, see `lineage.store.mlmd`.

It is for private use: in nobody's text."""


def hide(text: str) -> str:
    return text.replace("\\", STAND_IN)


def restore(text: str) -> str:
    return text.replace(STAND_IN, "\\")


def refused(connection: Connection, reason: str) -> StoreError:
    """Says that the server did not let the user in."""
    password = "is set" if connection.password else "is not set"
    return StoreError(
        f"The server at {connection.host}:{connection.port} refused the user "
        f"{connection.user!r}: {reason}. The password is taken from the environment variable "
        f"{PASSWORD_VARIABLE}, which {password}."
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
