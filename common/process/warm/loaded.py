"""Whether the code that a process has imported is still what lies on the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

Files = Mapping[str, tuple[int, int, int]]
"""By path: size, and when content and inode changed last, in ns."""


def files() -> Files:
    """Returns the files of all modules that are loaded."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    states = {path: _state(path) for path in paths if isinstance(path, str)}
    return {path: state for path, state in states.items() if state is not None}


def changed(before: Files) -> str:
    """Returns a path that is not as it was, or "" where all are."""
    return next((path for path, state in before.items() if _state(path) != state), "")


def newest(of: Files) -> int:
    """Returns the time of the last change of any of them, in ns."""
    return max((time for _, *times in of.values() for time in times), default=0)


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        at = os.stat(path)
    except OSError:
        return None
    return at.st_size, at.st_mtime_ns, at.st_ctime_ns
