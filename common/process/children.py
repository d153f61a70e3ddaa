"""Starts processes that do not outlive this one."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from common.process.parent import PARENT_VARIABLE

LOCK_VARIABLE = "VISIONLINE_LOCK_FD"
"""Environment variable with the file descriptor that holds the folder's lock, if it is held."""


def inherited() -> tuple[int, ...]:
    """File descriptors for every process of a run; see `common.process.folder_lock`."""
    lock = os.environ.get(LOCK_VARIABLE)
    return (int(lock),) if lock else ()


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Starts a process that calls `common.process.parent.die_with_parent`.

    The kernel ends it with the thread that started it; so that is one which lives as
    long as the process does.

    Args:
      options: further ones of `subprocess.Popen`.
    """
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()

    descriptors = (*pass_fds, *inherited())

    def keep() -> None:
        try:
            child = subprocess.Popen(
                command,
                env={**env, PARENT_VARIABLE: str(os.getpid())},
                pass_fds=descriptors,
                **options,
            )
        except OSError as e:
            started.put(e)
            return
        started.put(child)
        child.wait()

    threading.Thread(target=keep, daemon=True).start()
    child = started.get()
    if isinstance(child, OSError):
        raise child
    return child
