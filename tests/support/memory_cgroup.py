"""A control group with a memory limit, v1 or v2, for processes that are started in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Group]:
    """Skips the test where none can be made."""
    v1 = (_ROOT / "memory").is_dir()
    path = (_ROOT / "memory" if v1 else _ROOT) / f"visionline-test-{os.getpid()}"
    try:
        path.mkdir()
        (path / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(limit))
    except OSError as e:
        if path.is_dir():
            path.rmdir()
        pytest.skip(f"no control group can be made here: {e}")
    try:
        yield Group(path)
    finally:
        path.rmdir()


class Group:
    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """Processes that are started meanwhile are in it."""
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = {kinds: at for _, kinds, at in (line.split(":", 2) for line in lines)}
        back = self._path.parent / own.get("memory", own.get("", "/")).lstrip("/")
        (self._path / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (back / "cgroup.procs").write_text(str(os.getpid()))
