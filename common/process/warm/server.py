"""A process that has imported what others need, and forks one for each that is asked for.

`python -P -m common.process.warm.server SOCKET SECONDS MODULE [WORD …]` calls
`MODULE.preload(WORD …)` and then, in a process of its own for each request,
`MODULE.command(ARGUMENT …)`.  It ends when nothing was asked for in that many seconds, or when
a file that it has imported is no longer the same.

Between the server and a forked process is a keeper, as `common.process.warden` between a
command and who started it: nothing is left of the one once it ends, or the connection does.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
from importlib import import_module
from pathlib import Path

from common.process import warden
from common.process.given import take
from common.process.warm import loaded, wire

_HIGH = 512
"""File descriptors are kept above this while they are put in their places."""
_LAST_SECONDS = 10.0
_TICK_NS = 50_000_000
"""By which the times of files may be behind the clock."""


def main(place: str, seconds: str, module: str, *words: str) -> int:
    """Serves; returns in the server once it ends, and in each forked process with its code."""
    began = time.time_ns() - _TICK_NS
    path = Path(place)
    lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another one is here, or about to be
        return 0
    target = import_module(module)
    target.preload(*words)
    files = loaded.files()
    if loaded.newest(files) >= began:
        return 0  # some of it may have been read before it changed
    # What is here now is never looked at again, and its pages stay shared.
    gc.collect()
    gc.freeze()
    arguments = _serve(path, float(seconds), files, lock)
    return 0 if arguments is None else int(target.command(*arguments))


def _serve(path: Path, seconds: float, files: loaded.Files, lock: int) -> list[str] | None:
    """Returns None when the server is to end; in a forked process, its arguments."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    wake = warden.signals()
    keepers: set[int] = set()
    deadline = time.monotonic() + seconds
    while True:
        waiting: list[socket.socket | int] = [listener, wake]
        ready, _, _ = select.select(
            waiting, [], [], None if keepers else max(0.0, deadline - time.monotonic())
        )
        if wake in ready:
            ended = set(os.read(wake, 4096)) - {signal.SIGCHLD}
            keepers -= {pid for pid in keepers if os.waitpid(pid, os.WNOHANG)[0]}
            deadline = time.monotonic() + seconds
            if ended:
                break
        if listener in ready:
            connection, _ = listener.accept()
            asked = wire.receive(connection) if wire.is_ours(connection) else None
            if asked is None:
                connection.close()
                continue
            request, descriptors = asked
            stale = loaded.changed(files)
            if request.stop or stale:
                break
            pid = os.fork()
            if not pid:
                listener.close()
                os.close(wake)
                os.close(lock)
                return _keep(connection, request, descriptors)
            keepers.add(pid)
            connection.close()
            for number in descriptors:
                os.close(number)
        elif not ready:
            break
    path.unlink(missing_ok=True)
    return None


class _Forked:
    """A child of `os.fork`, as `warden.watch` takes it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        code = self._wait(0)
        assert code is not None
        return code

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _keep(connection: socket.socket, request: wire.Request, descriptors: list[int]) -> list[str]:
    """Forks the process and stays until it and its descendants are gone.

    Returns:
      Its arguments, in the forked process; never in the keeper.
    """
    os.setsid()
    warden.adopt_descendants()
    wake = warden.signals()
    us = os.getpid()
    child = _Forked(os.fork())
    if not child.pid:
        warden.die_with(us)
        connection.close()
        os.close(wake)
        return _become(request, descriptors)
    for number in descriptors:  # who reads a pipe sees its end once the process has ended
        os.close(number)
    with contextlib.suppress(OSError):
        wire.answer(connection, pid=child.pid, keeper=us)
        warden.watch(child, connection.fileno(), wake)
        warden.end_descendants()
        wire.answer(connection, code=child.wait())
        select.select([connection], [], [], _LAST_SECONDS)  # until it is read
    os._exit(0)


def _become(request: wire.Request, descriptors: list[int]) -> list[str]:
    """Makes this process what it would be, had it been started alone; returns its arguments."""
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, _HIGH) for number in descriptors]
    for number in descriptors:
        os.close(number)
    for number, place in zip(high, request.numbers, strict=True):
        os.dup2(number, place, inheritable=True)
        os.close(number)
    take(request.environment)
    time.tzset()
    os.chdir(request.folder)
    return list(request.arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
