"""Logs whose every line begins with the time at which it was printed.

TFX, Beam, TensorFlow, C++ and child processes print as they like; so what they print goes
through a pipe to a small process, this file run as a program, which puts the time before
each line.  It ends when the last writer has, however that ended, and nothing that was
written is lost: neither the writer's death nor a signal to everybody takes it along.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", re.MULTILINE)
_CHUNK = 1 << 16
_PATIENCE_SECONDS = 10.0
"""For what was printed last to be in the log, while a writer that was forgotten lives on."""


@contextlib.contextmanager
def timed_logs(paths: Sequence[Path]) -> Iterator[list[int]]:
    """Pipes to log files; what is written to them is appended, with times.

    Yields:
      A file descriptor for each path, to be a child's output.  Leaving closes them here,
      and waits until all other writers have ended and everything is in the files.

    Raises:
      OSError: a file cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path, "ab")) for path in paths]
        reading, writing = [], []
        for _ in paths:
            ends = os.pipe()
            reading.append(ends[0])
            writing.append(ends[1])
        pairs = [f"{r}:{f.fileno()}" for r, f in zip(reading, files, strict=True)]
        try:
            stamper = subprocess.Popen(
                [sys.executable, "-IS", __file__, *pairs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(*reading, *(f.fileno() for f in files)),
                start_new_session=True,  # Ctrl-C and a closed terminal are for the writers
            )
        except BaseException:
            for fd in writing:
                os.close(fd)
            raise
        finally:
            for fd in reading:
                os.close(fd)
    try:
        yield writing
    finally:
        for fd in writing:
            os.close(fd)
        with contextlib.suppress(subprocess.TimeoutExpired):
            stamper.wait(_PATIENCE_SECONDS)


def without_times(text: str) -> str:
    """What was printed."""
    return _STAMP.sub("", text)


class _Log:
    """One file that lines are appended to."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._within = False
        """Whether what was written last ends within a line."""
        self._lost = ""
        """Why what came last is not in the file."""

    def add(self, chunk: bytes) -> None:
        # A bar of progress draws over itself; in a file each state is a line.
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        now = time.time()
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        stamp = f"{whole}.{int(now % 1 * 1000):03d}Z ".encode()
        start = b"" if self._within else stamp
        if self._lost:
            gap = f"Lines are missing here: {self._lost}\n".encode()
            start = b"\n" * self._within + stamp + gap + stamp
        self._write(start + chunk[:-1].replace(b"\n", b"\n" + stamp) + chunk[-1:])

    def close(self) -> None:
        if self._within:
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        """Writes what it can: on a full disk the writers go on, and their lines are lost."""
        try:
            while data:
                written = os.write(self._file, data)
                self._within = data[written - 1 : written] != b"\n"
                data = data[written:]
            self._lost = ""
        except OSError as e:
            self._lost = e.strerror or type(e).__name__


def _copy(logs: dict[int, _Log]) -> None:
    """Copies from pipes to files until all pipes are closed."""
    while logs:
        for source in select.select(list(logs), [], [])[0]:
            chunk = os.read(source, _CHUNK)
            if chunk:
                logs[source].add(chunk)
            else:
                logs.pop(source).close()


def _main(arguments: Sequence[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pairs = [map(int, a.split(":")) for a in arguments]
    _copy({source: _Log(file) for source, file in pairs})


if __name__ == "__main__":
    _main(sys.argv[1:])
