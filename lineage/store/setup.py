"""Opening a store to write to it, through MLMD's own library and no other way.

`check_writable` says early and cheaply what is wrong; `make_ready` makes the database
and MLMD's tables where they are missing, and alone may do so; `open_store` opens what is
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from common.errors import NoDatabaseError, StoreError, UnreachableError
from lineage.store.connection import Connection
from lineage.store.opening import backend, check_readable, open_reader
from lineage.store.patience import patiently

_PATIENCE_SECONDS = 15.0
"""For a server that is starting."""


def check_writable(connection: Connection, patience: float = _PATIENCE_SECONDS) -> None:
    """Checks that a pipeline can write to a store, if it is there; changes nothing.

    Args:
      patience: seconds in which a server may begin to answer.

    Raises:
      StoreError: no; says what to do.
    """
    kind = backend(connection)

    def check() -> None:
        try:
            database = kind.connect(connection)
        except NoDatabaseError:
            return  # `make_ready` makes it
        # Half of the tables would look wrong.
        with closing(database), kind.setting_up(connection):
            kind.check_suitable(database, connection)
            if database.tables():
                check_readable(database, str(connection))

    patiently(check, lambda e: isinstance(e, UnreachableError), patience)


def make_ready(connection: Connection) -> None:
    """Makes what is missing of a store: its database, MLMD's tables.

    No other connection to the same SQLite file may be open in this process.

    Raises:
      StoreError: it cannot be written.
    """
    check_writable(connection)
    kind = backend(connection)
    try:
        kind.connect(connection).close()
    except NoDatabaseError:
        kind.create(connection)
        check_writable(connection)
    from lineage.store.mlmd import open_mlmd

    try:
        with kind.setting_up(connection):
            open_mlmd(connection)
            kind.adapt(connection)
    except RuntimeError as e:
        raise StoreError(
            f"ML Metadata cannot open the store {connection}: {_explain(str(e))}."
        ) from None


@contextmanager
def open_store(connection: Connection) -> Iterator[Any]:
    """Opens an `ml_metadata` MetadataStore of a store that is there already.

    No reader of the same SQLite file may be open in this process: closing it would
    free the locks of both.

    Raises:
      StoreError: there is none, or it cannot be written.
    """
    open_reader(connection).close()  # MLMD would make what is not there
    from ml_metadata import errors

    from lineage.store.mlmd import open_mlmd

    try:
        yield open_mlmd(connection)
    except errors.StatusError as e:
        raise StoreError(f"Cannot write to the metadata store {connection}: {e}.") from None


def _explain(message: str) -> str:
    """Says what its clients leave unsaid where our own could log in."""
    if message.startswith("mysql_real_connect failed"):
        from lineage.store.backends.mysql import LOGIN

        return LOGIN
    if message.strip() == "PostgreSQL metadata source error:":
        from lineage.store.backends.postgresql import PLAIN

        return PLAIN
    return message.strip().rstrip(".")
