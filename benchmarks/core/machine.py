"""On what was measured: machine, commit, versions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_WRITTEN = (
    *(":!benchmarks/RESULTS.md", ":!benchmarks/results.json", ":!benchmarks/plots"),
    ":!docs/scaling.md",
)
"""Pages that a measurement itself writes: they do not make it another."""


def cpus() -> int:
    """Counts the CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> str:
    """Names the machine as far as it matters for times: equal machines have equal names."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    processor = names[0] if names else platform.machine()
    return f"{processor}, {cpus()} CPUs, {memory / 2**30:.0f} GiB"


def versions() -> str:
    """Names what else decides about times."""
    names = ("tfx", "tensorflow", "keras", "torch", "apache-beam")
    of = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"Python {platform.python_version()}, {of}"


def commit() -> str:
    """Returns the short commit of this checkout, and a digest of what differs from it."""
    head = _git("rev-parse", "--short=10", "HEAD") or "no-commit"
    changes = _git("diff", "HEAD", "--", ".", *_WRITTEN)
    digest = hashlib.sha256(changes.encode()).hexdigest()[:8]
    return f"{head}+{digest}" if changes else head


def committed(path: str) -> str | None:
    """Returns a file as it was committed last; None where it was not."""
    return _git("show", f"HEAD:{path}") or None


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
