"""Which store: a path or URL, and how each library is told of it.

visionline-runs/photos/metadata.sqlite, sqlite:///absolute/path
mysql://user@host:3306/database         (MySQL or MariaDB)
postgresql://user@host:5432/database
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from pipeline.lineage.sql import Row, SqlReader
from pipeline.lineage.store import SCHEMA_VERSION, Reader, StoreError
from trainers.errors import ConfigError

PASSWORD_VARIABLE = "VISIONLINE_METADATA_PASSWORD"
_PORTS = {"mysql": 3306, "postgresql": 5432}
_BUSY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A store's place."""

    kind: Literal["sqlite", "mysql", "postgresql"]
    path: Path | None = None
    """Of SQLite's file."""
    host: str = ""
    port: int = 0
    user: str = ""
    database: str = ""

    @classmethod
    def parse(cls, text: str) -> Connection:
        """Reads a path or URL.

        Raises:
          ConfigError: it is neither.
        """
        scheme, colon, _ = text.partition("://")
        if not colon:
            return cls(kind="sqlite", path=Path(text).absolute())
        url = urlsplit(text)
        if scheme == "sqlite":
            return cls(kind="sqlite", path=Path(unquote(url.path)).absolute())
        if scheme not in _PORTS:
            raise ConfigError(
                f"metadata: expected a path, sqlite:///PATH, mysql://USER@HOST:PORT/DATABASE or "
                f"postgresql://USER@HOST:PORT/DATABASE, got {scheme}://…"
            )
        if url.password is not None:
            raise ConfigError(
                "metadata: leave the password out of the URL, which is recorded with every run; "
                f"put it in the environment variable {PASSWORD_VARIABLE}."
            )
        try:
            port = url.port or _PORTS[scheme]
        except ValueError:
            port = 0
        database = unquote(url.path.strip("/"))
        if not url.hostname or not url.username or not database or not port:
            raise ConfigError(
                f"metadata: expected {scheme}://USER@HOST:PORT/DATABASE, got {text!r}."
            )
        return cls(
            kind="mysql" if scheme == "mysql" else "postgresql",
            host=url.hostname,
            port=port,
            user=unquote(url.username),
            database=database,
        )

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return str(self.path)
        return f"{self.kind}://{quote(self.user)}@{self.host}:{self.port}/{quote(self.database)}"

    @property
    def password(self) -> str:
        return os.environ.get(PASSWORD_VARIABLE, "")

    def mlmd_config(self, *, readonly: bool = False) -> Any:
        """As an `ml_metadata` ConnectionConfig."""
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        config = mlmd.ConnectionConfig()
        if self.kind == "sqlite":
            config.sqlite.filename_uri = str(self.path)
            modes = mlmd.SqliteMetadataSourceConfig
            config.sqlite.connection_mode = (
                modes.READONLY if readonly else modes.READWRITE_OPENCREATE
            )
        return config


def open_reader(connection: Connection, via: Literal["sql", "mlmd"] = "sql") -> Reader:
    """Opens a store for reading only.

    Args:
      via: "sql" reads the tables; "mlmd" asks MLMD's own library, the reference.

    Raises:
      StoreError: there is no store, or none of the version that is read.
    """
    if via == "sql":
        return _sqlite_reader(connection)
    _sqlite_reader(connection).close()  # says what is wrong better than MLMD does
    from ml_metadata.metadata_store import metadata_store

    from pipeline.lineage.api import ApiReader

    store = metadata_store.MetadataStore(connection.mlmd_config(readonly=True))
    return ApiReader(store, str(connection))


def _sqlite_reader(connection: Connection) -> SqlReader:
    import sqlite3

    path = connection.path
    if path is None or not path.is_file():
        raise StoreError(f"No metadata store at {path}. Name the output folder with --output.")
    if path.stat().st_size == 0:
        raise StoreError(f"{path} is empty: no pipeline has written to it yet.")
    try:
        database = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_SECONDS
        )
    except sqlite3.Error as e:
        raise StoreError(f"Cannot open the metadata store {path}: {e}.") from None

    def query(sql: str, parameters: Sequence[Any]) -> Iterable[Row]:
        try:
            return database.execute(sql, parameters).fetchall()
        except sqlite3.Error as e:
            raise StoreError(f"Cannot read the metadata store {path}: {e}.") from None

    try:
        _check_version(query, str(path))
    except StoreError:
        database.close()
        raise
    return SqlReader(query, str(path), database.close)


def _check_version(query: Any, where: str) -> None:
    tables = query("SELECT name FROM sqlite_master WHERE name = 'MLMDEnv'", [])
    if not tables:
        raise StoreError(f"{where} is a database, but not one of ML Metadata.")
    versions = [r[0] for r in query("SELECT schema_version FROM MLMDEnv", [])]
    if versions != [SCHEMA_VERSION]:
        found = ", ".join(map(str, versions)) or "none"
        raise StoreError(
            f"{where} has schema version {found} of ML Metadata; this visionline reads "
            f"version {SCHEMA_VERSION}. Nothing was changed. Upgrade the store with the "
            "ml-metadata library that fits it, or use the visionline that wrote it."
        )
