"""Opening a store to write to it, through MLMD's own library and no other way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.errors import StoreError
from lineage.store.connection import Connection
from lineage.store.opening import open_reader


@contextmanager
def open_store(connection: Connection) -> Iterator[Any]:
    """An `ml_metadata` MetadataStore of a store that is there already.

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
