"""What several tests need: Python in a process of its own, a disk that is nearly full."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).parents[2]
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
"""For property tests: the same examples each time, however busy the machine."""
PACKAGES = ("common", "modelstore", "trainers", "components", "lineage", "serving", "pipeline")
"""Those of the product, the ground floor first."""
PLAIN = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
"""Environment for output that is the same everywhere."""


def python(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with the project on its path, to the end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=300,
    )


def start_python(
    *arguments: str, cwd: Path = ROOT, stdin: bool = False, **env: str
) -> subprocess.Popen[str]:
    """Starts Python with the project on its path; `stdin`: whether it gets a pipe to read."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(**env: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PYTHONSAFEPATH")}
    return {**kept, **PLAIN, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **env}


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def may_mount() -> bool:
    """Whether this process holds CAP_SYS_ADMIN (root does, in most containers it does not)."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> 21 & 1)


@contextlib.contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[Path]:
    """A file system of its own, where the test `may_mount` one."""
    folder.mkdir()
    choices = ",".join((f"size={size}", *options))
    subprocess.run(["mount", "-t", "tmpfs", "-o", choices, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing more than `size` bytes to a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
