"""How a child process tells its parent how it goes: JSON lines on a pipe."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

FD_VARIABLE = "VISIONLINE_PROGRESS_FD"

_lock = threading.Lock()


def emit(event: dict[str, Any]) -> None:
    """Sends one event; silently does nothing where nobody listens."""
    fd = os.environ.get(FD_VARIABLE)
    if not fd:
        return
    line = json.dumps(event).encode() + b"\n"
    try:
        with _lock:
            while line:
                line = line[os.write(int(fd), line) :]
    except OSError:
        pass  # the parent went away; the work itself goes on


def events(fd: int) -> Iterator[dict[str, Any]]:
    """Reads events until the other end closes; closes `fd`."""
    with os.fdopen(fd, encoding="utf-8") as pipe:
        for line in pipe:
            try:
                yield json.loads(line)
            except ValueError:
                continue  # the writer died within a line
