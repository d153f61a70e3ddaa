"""Which processes there are, for tests of what is left when one of them is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def marked(mark: str) -> dict[int, str]:
    """Command lines by id, of the processes whose environment or command line holds `mark`."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            inside = mark.encode() in (entry / "environ").read_bytes() or mark in words
        except OSError:
            continue
        if words and inside and int(entry.name) != os.getpid():  # a zombie has no words
            found[int(entry.name)] = words
    return found


def kill_all(mark: str) -> None:
    for pid in marked(mark):
        os.kill(pid, signal.SIGKILL)
