"""Starts processes that do not outlive this one."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.parent import PARENT_VARIABLE


def start(
    command: Sequence[str], *, env: Mapping[str, str], **options: Any
) -> subprocess.Popen[bytes]:
    """Starts a process that calls `trainers.parent.die_with_parent`.

    The kernel ends it with the thread that started it; so that is one which lives as
    long as the process does.

    Args:
      options: further ones of `subprocess.Popen`.
    """
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()

    def keep() -> None:
        try:
            child = subprocess.Popen(
                command, env={**env, PARENT_VARIABLE: str(os.getpid())}, **options
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
