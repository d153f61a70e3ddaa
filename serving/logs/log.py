"""The log of a server: a JSON object per line, written by a thread of its own.

Whoever logs only leaves the line in a queue.  What cannot be written is counted, and
holds up nobody.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from common.errors import ConfigError
from serving.config import LogConfig

QUEUE = 100_000
"""Lines that may wait; more are lost."""
_GATHER_SECONDS = 0.05
"""What comes within it is written at once."""
_STDERR = 2

Line = Mapping[str, Any]
_LAST: Line = {}
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


class Log:
    """Appends to a file, or to stderr.

    Raises:
      ConfigError: the file cannot be written to.
    """

    def __init__(self, config: LogConfig) -> None:
        self._path = config.file
        self.lost: Callable[[int], None] = lambda lines: None
        """Told how many lines were lost."""
        self._queue: queue.SimpleQueue[tuple[float, Line]] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._torn = False
        """Whether what was written last ends within a line."""
        self._file = self._open() if self._path else _STDERR
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Takes a line, as JSON can have it; from any thread, at once."""
        if self._queue.qsize() >= QUEUE:
            self.lost(1)
        else:
            self._queue.put((time.time(), line))

    def close(self, seconds: float = 5.0) -> None:
        """Writes what waits; gives up after so long, if nobody reads what is written."""
        if not self._closing.is_set():
            self._queue.put((0.0, _LAST))
            self._closing.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        over = False
        while not over:
            waiting = [self._queue.get()]
            self._closing.wait(_GATHER_SECONDS)
            while not self._queue.empty():
                waiting.append(self._queue.get())
            over = any(line is _LAST for _, line in waiting)
            lines = [_encoded(at, line) for at, line in waiting if line is not _LAST]
            try:
                self._write(b"".join(lines))
            except (OSError, ConfigError):  # a full disk, a folder or a reader that is gone
                self.lost(len(lines))
        if self._path:
            os.close(self._file)

    def _write(self, data: bytes) -> None:
        if self._path and self._is_moved():
            old, self._file = self._file, self._open()
            os.close(old)
        data = b"\n" + data if self._torn else data
        while data:
            written = os.write(self._file, data)
            self._torn = data[written - 1 : written] != b"\n"
            data = data[written:]

    def _is_moved(self) -> bool:
        """Returns whether the file was renamed or removed, as log rotation does."""
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return True

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as e:
            raise ConfigError(f"Cannot write the log {self._path}: {e.strerror}.") from None


def _encoded(at: float, line: Line) -> bytes:
    """Escapes everything but ASCII, and so what would end the line."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    whole = {"time": moment.replace("+00:00", "Z"), **line}
    return _encode(whole).encode() + b"\n"


class _Messages(logging.Handler):
    """Python's own log messages, as lines."""

    def __init__(self, log: Log, request_id: Callable[[], str]) -> None:
        super().__init__()
        self._log = log
        self._request_id = request_id

    def emit(self, record: logging.LogRecord) -> None:
        line = {
            "kind": "message",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := self._request_id():
            line["request_id"] = request_id
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        self._log.write(line)


@contextlib.contextmanager
def messages_into(log: Log, request_id: Callable[[], str]) -> Iterator[None]:
    """Has warnings and errors of every library written there.

    Args:
      request_id: of the request that the caller answers, or "".
    """
    handler = _Messages(log, request_id)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
