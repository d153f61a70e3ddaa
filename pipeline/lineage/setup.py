"""Making a store ready for a pipeline to write to.

`check_writable` says early and cheaply what is wrong; `make_ready` makes the database
and MLMD's tables where they are missing, and alone may do so.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.lineage.backends import (
    NoDatabaseError,
    UnreachableError,
    backend,
    check_readable,
    connect,
)
from pipeline.lineage.connection import Connection
from pipeline.lineage.store import StoreError

T = TypeVar("T")

_PATIENCE_SECONDS = 15.0
"""For a server that is starting, or a store that others are busy with."""
_BUSY = ("aborted", "concurrent")
"""In what MLMD says when it may be tried again."""


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
            database = connect(connection)
        except NoDatabaseError:
            return  # `make_ready` makes it
        try:
            with kind.setting_up(connection):  # half of the tables would look wrong
                kind.check_suitable(database, connection)
                if database.tables():
                    check_readable(database, str(connection))
        finally:
            database.close()

    _patiently(check, lambda e: isinstance(e, UnreachableError), patience)


def make_ready(connection: Connection) -> None:
    """Makes what is missing of a store: its database, MLMD's tables.

    No other connection to the same SQLite file may be open in this process.

    Raises:
      StoreError: it cannot be written.
    """
    check_writable(connection)
    kind = backend(connection)
    try:
        connect(connection).close()
    except NoDatabaseError:
        kind.create(connection)
        check_writable(connection)
    from pipeline.lineage.mlmd import open_mlmd

    try:
        with kind.setting_up(connection):
            _patiently(lambda: open_mlmd(connection), _is_busy, _PATIENCE_SECONDS)
    except RuntimeError as e:
        raise StoreError(
            f"ML Metadata cannot open the store {connection}: {_explain(str(e))}."
        ) from None


def _is_busy(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _BUSY)


def _explain(message: str) -> str:
    """What its clients leave unsaid where our own could log in."""
    if message.startswith("mysql_real_connect failed"):
        from pipeline.lineage.backends.mysql import LOGIN

        return LOGIN
    if message.strip() == "PostgreSQL metadata source error:":
        from pipeline.lineage.backends.postgresql import PLAIN

        return PLAIN
    return message.strip().rstrip(".")


def _patiently(call: Callable[[], T], passing: Callable[[Exception], bool], seconds: float) -> T:
    """Calls again, ever more slowly, while its trouble is passing and there is time."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            return call()
        except Exception as e:
            if not passing(e) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, 2.0)
