"""Asks for a process that has its imports behind it; starts and ends the servers of these."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.process import warden
from common.process.warm import wire
from common.process.warm.folder import idle_seconds, socket_of, sockets
from common.process.warm.identity import identity

_ANSWER_SECONDS = 5.0
"""For the server to fork; it does nothing else."""
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """A module with `preload` and `command`, see `common.process.warm.server`."""

    module: str
    words: tuple[str, ...] = ()
    """What `preload` is called with."""

    def socket(self, environment: Mapping[str, str]) -> Any:
        return socket_of(identity(" ".join((self.module, *self.words)), environment))


class Process:
    """A forked process, seen from who asked for it; it ends with this connection."""

    def __init__(self, connection: socket.socket, pid: int, keeper: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection, self._keeper = connection, keeper

    def poll(self) -> int | None:
        return self._read(0.0)

    def wait(self) -> int:
        """Waits until nothing is left of it; returns its exit code, or minus a signal."""
        code = self._read(None)
        assert code is not None
        return code

    def kill(self) -> None:
        """Ends it and what it has started, at once."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Ends it and what belongs to it; a Ctrl-C meanwhile does so at once."""
        with contextlib.suppress(KeyboardInterrupt, OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self._read(warden.GRACE_SECONDS + warden.SPARE_SECONDS)
        self._finish(-signal.SIGKILL)

    def _read(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            answer = _line(self._connection, seconds)
            if answer is not None:
                self._finish(int(answer.get("code", -signal.SIGKILL)))
        return self.returncode

    def _finish(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._keeper, signal.SIGKILL)
            self._connection.close()


def start(
    target: Target, arguments: Sequence[str], environment: Mapping[str, str], fds: Mapping[int, int]
) -> Process | None:
    """Starts a process by a server that fits; None where there is none.

    Args:
      fds: the file descriptors that it has besides 0, by number; 1 and 2 are to be among them.
    """
    if not idle_seconds():
        return None
    connection = _connected(target, environment)
    if connection is None:
        return None
    request = wire.Request(
        arguments=arguments, environment=environment, folder=os.getcwd(), numbers=[*fds]
    )
    with contextlib.suppress(OSError):
        wire.send(connection, request, [*fds.values()])
        answer = _line(connection, _ANSWER_SECONDS)
        if answer and "pid" in answer:
            return Process(connection, answer["pid"], answer["keeper"])
    connection.close()
    return None


def is_there(target: Target, environment: Mapping[str, str]) -> bool:
    """Says whether a server that fits listens; it may find later that its code is old."""
    connection = _connected(target, environment) if idle_seconds() else None
    if connection is not None:
        connection.close()
    return connection is not None


def keep(target: Target, environment: Mapping[str, str]) -> None:
    """Leaves a server behind, for processes to come; it imports meanwhile.

    Those of the same module that do not fit any more end by themselves, after a while.
    """
    path = target.socket(environment)
    if not idle_seconds() or path is None:
        return
    if is_there(target, environment):
        return
    command = [sys.executable, "-P", "-m", "common.process.warm.server"]
    words = [str(path), str(idle_seconds()), target.module, *target.words]
    nowhere = subprocess.DEVNULL
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [*command, *words],
            env=environment,
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            start_new_session=True,
        )


def stop_all() -> int:
    """Ends all servers of this user's; returns how many there were."""
    stopped = 0
    for path in sockets():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_STOP_SECONDS)
            connection.connect(str(path))
            wire.send(connection, wire.Request(environment={}, folder="/", stop=True), [])
            connection.recv(1)  # until it has closed
            stopped += 1
    return stopped


def _connected(target: Target, environment: Mapping[str, str]) -> socket.socket | None:
    path = target.socket(environment)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
        if wire.is_ours(connection):
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _line(connection: socket.socket, seconds: float | None) -> dict[str, Any] | None:
    """Returns the next line; None where none comes in time, {} where none comes at all."""
    deadline = None if seconds is None else time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        connection.settimeout(left)
        try:
            byte = connection.recv(1)
        except (TimeoutError, BlockingIOError):
            return None
        except ConnectionError:
            byte = b""
        if not byte:
            return {}
        line += byte
    read: dict[str, Any] = json.loads(line)
    return read
