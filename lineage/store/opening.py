"""Opening a store to read it."""

from __future__ import annotations

from common.errors import StoreError
from common.extras import require_installed
from lineage.store.backends.base import Backend, Database
from lineage.store.connection import Connection
from lineage.store.reader import SCHEMA_VERSION, Reader


def open_reader(connection: Connection) -> Reader:
    """Opens a store for reading only.

    Raises:
      StoreError: there is no store, or none of the version that is read.
    """
    database = backend(connection).connect(connection)
    try:
        check_readable(database, str(connection))
    except BaseException:
        database.close()
        raise
    return Reader(database.query, str(connection), database.close, connection.places)


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
