"""Trying again what failed because others were there at the same time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds."""
_BUSY = (
    *("aborted", "concurrent", "deadlock", "lock wait timeout"),
    *("could not serialize", "database is locked"),
)
"""In what MLMD says when it had to give way.  Whatever it did is undone then."""


def is_busy(error: Exception) -> bool:
    """Says whether MLMD gave way to another writer."""
    return any(word in str(error).lower() for word in _BUSY)


def patiently(call: Callable[[], T], passing: Callable[[Exception], bool], seconds: float) -> T:
    """Calls again, ever more slowly, while its trouble is passing and there is time."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except Exception as e:
            if not passing(e) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, _LONGEST_PAUSE)
