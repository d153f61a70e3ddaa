"""One run at a time in a folder: a lock that is held as long as anything of a run is alive.

It belongs to the open file, which all processes of a run inherit, and not to the one that
took it; the kernel frees it when the last of them has ended, however it did.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from common.errors import RunError
from common.process.children import LOCK_VARIABLE

NAME = ".lock"
_LOOK_SECONDS = 1.0
"""Whoever looks whether a run is alive holds the lock for an instant."""
_ENDING_SECONDS = 30.0
"""Longer than a run takes to end whose first process was killed."""


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """Holds a folder, for this process and those that inherit `common.process.children.inherited`.

    A run that is about to end, since the process that took the lock is gone, is waited for.

    Raises:
      RunError: another run holds it, or it cannot be written.
    """
    try:
        f = open(root / NAME, "a+")  # noqa: SIM115 - the next line
    except OSError as e:
        raise unwritable(root, e) from None
    with f:
        _take(f, root)
        holder = f"pid {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        with suppress(OSError):  # a full disk: the lock holds, though nameless
            os.ftruncate(f.fileno(), 0)
            os.pwrite(f.fileno(), holder.encode(), 0)
        os.environ[LOCK_VARIABLE] = str(f.fileno())
        try:
            yield
        finally:
            del os.environ[LOCK_VARIABLE]


def is_held(root: Path) -> bool | None:
    """Whether something of a run is alive in a folder; None: that cannot be known here."""
    try:
        with open(root / NAME) as f:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def unwritable(root: Path, error: OSError) -> RunError:
    return RunError(f"Cannot write to the output folder {root}: {error.strerror}.")


def _take(f: IO[str], root: Path) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            f.seek(0)
            holder = f.read().strip()
        waited = time.monotonic() - began
        if waited > (_ENDING_SECONDS if _is_gone(holder) else _LOOK_SECONDS):
            raise RunError(
                f"Another run is using {root} ({holder or 'another process'}). "
                "Wait for it, or choose another folder with --output."
            )
        time.sleep(0.05)


def _is_gone(holder: str) -> bool:
    """Whether the process that took the lock has ended."""
    pid = re.match(r"pid (\d+),", holder)
    if pid is None:
        return False
    try:
        state = Path(f"/proc/{pid[1]}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"
