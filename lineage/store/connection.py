"""Which store: a path or URL, and how each library is told of it.

visionline-runs/photos/metadata.sqlite, sqlite:///absolute/path
mysql://user@host:3306/database         (MySQL or MariaDB)
postgresql://user@host:5432/database
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from common.errors import ConfigError
from common.paths import check_text, is_utf8
from lineage.store.places import HERE, Places

PASSWORD_VARIABLE = "VISIONLINE_METADATA_PASSWORD"
Kind = Literal["sqlite", "mysql", "postgresql"]
_SCHEMES: dict[str, Kind] = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}
_PORTS = {"mysql": 3306, "postgresql": 5432}
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_USER = re.compile(r"[^\s'\"\\\x00-\x1f]{1,63}")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_TRIES = 30
"""Of a call that another writer got in the way of; MLMD's own five can run out."""
_CLIENT_PASSWORD = {"mysql": "MYSQL_PWD", "postgresql": "PGPASSWORD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A store's place.

    Raises:
      ConfigError: for what no store can have.  MLMD ends the whole process where host,
        user, port or database is missing, and pastes them unquoted into commands.
    """

    kind: Kind
    path: Path | None = None
    """Of SQLite's file."""
    host: str = ""
    port: int = 0
    user: str = ""
    database: str = ""
    places: Places = field(default=HERE, compare=False, repr=False)
    """Where the files of what it names are now, for readers; no part of which store it is."""

    def __post_init__(self) -> None:
        if self.kind == "sqlite":
            if self.path is None or not self.path.is_absolute() or "\0" in str(self.path):
                raise ConfigError(f"metadata: expected an absolute path, got {self.path}.")
            if not is_utf8(str(self.path)):
                raise ConfigError(f"metadata: expected a path in UTF-8, got {str(self.path)!r}.")
            return
        form = f"{self.kind}://USER@HOST:PORT/DATABASE"
        if not _HOST.fullmatch(self.host):
            raise ConfigError(f"metadata: expected a host's name or address, as in {form}.")
        if not 0 < self.port < 65536:
            raise ConfigError(f"metadata: expected a port from 1 to 65535, as in {form}.")
        if not _USER.fullmatch(self.user):
            raise ConfigError(
                f"metadata: expected a user without spaces, quotes and backslashes, as in {form}."
            )
        if not _DATABASE.fullmatch(self.database):
            raise ConfigError(
                "metadata: expected a database's name of letters, digits and '_' that does not "
                f"begin with a digit, as in {form}, got {self.database!r}."
            )

    @classmethod
    def parse(cls, text: str) -> Connection:
        """Reads a path or URL.

        Raises:
          ConfigError: it is neither.  The message never repeats the URL, which may hold
            a password.
        """
        scheme, slash, _ = text.partition(":/")
        if not slash or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
            if not text:
                raise ConfigError("metadata: expected a path or URL, got nothing.")
            check_text("metadata", text)
            return cls(kind="sqlite", path=Path(text).absolute())
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError:
            raise ConfigError(_expected(scheme)) from None
        if url.password is not None:
            raise ConfigError(
                "metadata: leave the password out of the URL, which is recorded with every run; "
                f"put it in the environment variable {PASSWORD_VARIABLE}."
            )
        if url.query or url.fragment:
            raise ConfigError(f"metadata: no options after ? or # are known. {_expected(scheme)}")
        if scheme == "sqlite" and not url.netloc and len(url.path) > 1:
            return cls(kind="sqlite", path=Path("/" + unquote(url.path).lstrip("/")))
        if scheme not in _SCHEMES or not text.startswith(f"{scheme}://"):
            raise ConfigError(_expected(scheme))
        kind = _SCHEMES[scheme]
        host = url.hostname or ""
        if kind == "mysql" and host == "localhost":
            host = "127.0.0.1"  # MLMD's client takes the name for a socket's
        return cls(
            kind=kind,
            host=host,
            port=_PORTS[kind] if port is None else port,
            user=unquote(url.username or ""),
            database=unquote(url.path.removeprefix("/")),
        )

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return str(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{quote(self.user, safe='')}@{host}:{self.port}/{self.database}"

    @property
    def password(self) -> str:
        return os.environ.get(PASSWORD_VARIABLE, "")

    def is_same_store(self, other: Connection) -> bool:
        """Says whether both name one store, whoever asks."""

        def place(c: Connection) -> tuple[object, ...]:
            return c.kind, c.path and c.path.resolve(), c.host, c.port, c.database

        return place(self) == place(other)

    def mlmd_config(self, *, readonly: bool = False) -> Any:
        """Makes an `ml_metadata` ConnectionConfig, for a store that is there; see `open_mlmd`.

        TFX logs it, so the password is not in it: MLMD's clients find that in this
        process' environment, where this puts it.

        Args:
          readonly: of SQLite alone; the others are asked by `lineage.store.opening`.
        """
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        config = mlmd.ConnectionConfig()
        config.retry_options.max_num_retries = _TRIES
        if self.kind == "sqlite":
            config.sqlite.filename_uri = str(self.path)
            mode = "READONLY" if readonly else "READWRITE_OPENCREATE"
            config.sqlite.connection_mode = config.sqlite.ConnectionMode.Value(mode)
            return config
        if self.password:
            os.environ[_CLIENT_PASSWORD[self.kind]] = self.password
        # MLMD itself would make a database without quotes, and in any collation.
        server = getattr(config, self.kind)
        server.host, server.user, server.skip_db_creation = self.host, self.user, True
        if self.kind == "mysql":
            server.port, server.database = self.port, self.database
        else:
            server.port, server.dbname = str(self.port), self.database
        return config


def _expected(scheme: str) -> str:
    return (
        f"metadata: expected a path, sqlite:///PATH, mysql://USER@HOST:PORT/DATABASE or "
        f"postgresql://USER@HOST:PORT/DATABASE, got something else that begins with {scheme}:"
    )
