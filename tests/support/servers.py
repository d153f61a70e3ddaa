"""Real database servers for tests: MariaDB and PostgreSQL on a free port, without fsync.

A server's package is installed where this process may do so; where it cannot be had,
the tests are skipped with the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "vision", "s3cret 'quoted\\"
"""Of the account that tests use; the password has what a careless client trips over."""
_ROOT = {"mysql": "mysql", "postgresql": "postgres"}
"""The system user that a server runs as where we are root."""
_START_SECONDS = 60
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Server:
    kind: str
    port: int
    admin: Callable[..., Any]
    """Runs one statement, in a database if one is named, as the administrator."""

    def url(self, database: str, user: str = USER) -> str:
        return f"{self.kind}://{user}@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def running(kind: str) -> Iterator[Server]:
    """A server of a kind, until the end of the block."""
    start = {"mysql": _mariadb, "postgresql": _postgresql}[kind]
    folder = Path(tempfile.mkdtemp(prefix="vl-", dir="/tmp"))  # short: sockets lie there
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _ROOT[kind], _ROOT[kind])
        with start(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _mariadb(folder: Path) -> Iterator[Server]:
    import pymysql

    daemon = _program("mariadb-server", "/usr/sbin/mariadbd", "/usr/sbin/mysqld")
    install = _program("mariadb-server", "/usr/bin/mariadb-install-db")
    data, port, admin_socket = folder / "data", free_port(), folder / "s.sock"
    common = ["--no-defaults", f"--datadir={data}"]
    _as_user(
        "mysql", install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"
    )
    process = _start_as_user(
        "mysql",
        folder / "log",
        daemon,
        *common,
        f"--socket={admin_socket}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--pid-file={folder / 'pid'}",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--innodb-buffer-pool-size=32M",
        "--performance-schema=off",
    )

    def admin(statement: str, database: str | None = None) -> Any:
        with (
            contextlib.closing(
                pymysql.connect(
                    unix_socket=str(admin_socket), user="root", database=database, autocommit=True
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return cursor.fetchall()

    with _until_ready(process, folder / "log", lambda: admin("SELECT 1")):
        literal = pymysql.converters.escape_string(PASSWORD)
        admin(f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{literal}'")
        admin(f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1'")
        admin("INSTALL SONAME 'auth_ed25519'")
        yield Server("mysql", port, admin)


@contextlib.contextmanager
def _postgresql(folder: Path) -> Iterator[Server]:
    import psycopg
    from psycopg import sql

    places = [
        str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    ]
    daemon = Path(_program("postgresql", *places, "/usr/lib/postgresql/15/bin/postgres"))
    data, port = folder / "data", free_port()
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    _as_user(
        "postgres",
        str(daemon.with_name("initdb")),
        f"--pgdata={data}",
        *("--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"),
        *("--auth-local=trust", "--auth-host=scram-sha-256"),
        f"--pwfile={folder / 'password'}",
    )
    process = _start_as_user(
        "postgres",
        folder / "log",
        *(str(daemon), "-D", str(data), "-p", str(port), "-k", str(folder)),
        *("-h", "127.0.0.1", "-c", "fsync=off", "-c", "synchronous_commit=off"),
        *("-c", "full_page_writes=off", "-c", "shared_buffers=32MB"),
    )

    def admin(statement: str, database: str = "postgres") -> Any:
        with psycopg.connect(
            host=str(folder), port=port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    with _until_ready(process, folder / "log", lambda: admin("SELECT 1")):
        role = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
            sql.Identifier(USER), sql.Literal(PASSWORD)
        )
        admin(role.as_string())
        yield Server("postgresql", port, admin)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def _until_ready(
    process: subprocess.Popen[bytes], log: Path, probe: Callable[[], Any]
) -> Iterator[None]:
    """Waits until a server answers; stops it at the end."""
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                probe()
                break
            except Exception as e:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"The server did not start: {e}\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGQUIT)  # the fastest orderly end of both
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@functools.cache
def _program(package: str, *places: str) -> str:
    for _ in range(2):
        for place in places:
            if Path(place).exists():
                return place
        _install(package)
    pytest.skip(f"{package} was installed and has no {places[0]}")


def _install(package: str) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip(f"no {package} here, and this process may not install it")
    for command in (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends", package),
    ):
        try:
            done = subprocess.run(
                (*command, "-o", "DPkg::Lock::Timeout=120"),
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
                timeout=240,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{package} could not be installed in time")
        if done.returncode:
            pytest.skip(f"{package} could not be installed: {done.stderr.strip()[-300:]}")


def _user(name: str) -> dict[str, Any]:
    """Arguments for subprocess: that user where we are root, else ourselves."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _as_user(user: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", **_user(user))
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"


def _start_as_user(user: str, log: Path, *command: str) -> subprocess.Popen[bytes]:
    with open(log, "wb") as f:
        return subprocess.Popen(
            command, stdout=f, stderr=f, cwd="/", preexec_fn=_end_with_parent, **_user(user)
        )


def _end_with_parent() -> None:
    """In a child: the kernel ends it when the tests are killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
