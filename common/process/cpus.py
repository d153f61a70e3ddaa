"""How many CPUs this process may use: the one answer for every pool of threads.

`os.cpu_count()` is the machine's.  A container or a batch job often has a part of it: by an
affinity mask, or by a quota of its control group or one above it; with as many threads as the
machine has CPUs, it is stopped for most of each period.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")
_POOLS = (
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
)


@functools.cache
def available_cpus() -> int:
    """The CPUs of the affinity mask, or fewer where a control group's quota says so; at least 1.

    Part of a CPU counts as one: a quota of 1.5 is 2.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_mask() -> list[int]:
    """The numbers of the CPUs that this process may run on, whatever part of them it may use."""
    return sorted(os.sched_getaffinity(0))


def size_pools() -> None:
    """Tells libraries that know masks and no quotas; before they are imported.

    What the environment says already stays.
    """
    if available_cpus() < len(os.sched_getaffinity(0)):
        for variable in _POOLS:
            os.environ.setdefault(variable, str(available_cpus()))


def cpu_quota(proc: Path = _PROC) -> float | None:
    """The tightest quota of this process's control groups, in CPUs; None where there is none.

    Reads version 1 and 2 alike, both where a machine has both.

    Args:
      proc: a process's folder, with `cgroup` and `mountinfo`.
    """
    quotas = [quota for folder in _folders(proc) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _folders(proc: Path) -> Iterator[Path]:
    """Of the groups the process is in, and of those above, as far as they can be seen."""
    groups = _groups(proc)
    for line in _read(proc / "mountinfo").splitlines():
        before, separator, after = line.partition(" - ")
        fields, (kind, *rest) = before.split(), (after.split() or [""])
        if not separator or len(fields) < 5 or kind not in groups:
            continue
        if kind == "cgroup" and "cpu" not in rest[-1].split(","):
            continue
        root, mounted = _plain(fields[3]), Path(_plain(fields[4]))
        path = PurePosixPath(groups[kind])
        # In a container the path may be one of the host, of which only a part is mounted.
        inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for part in (inside, *inside.parents):
            yield mounted / part


def _groups(proc: Path) -> dict[str, str]:
    """Returns the path of the process's group by kind of file system."""
    paths = {}
    for line in _read(proc / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    return paths


def _quota(folder: Path) -> float | None:
    """Of one group; None for none, or where it cannot be read."""
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or nothing
        return None
    return cpus if cpus > 0 else None


def _plain(text: str) -> str:
    """A path as mountinfo writes it, with spaces and the like in octal."""
    for character in (" ", "\t", "\n", "\\"):
        text = text.replace(f"\\{ord(character):03o}", character)
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
