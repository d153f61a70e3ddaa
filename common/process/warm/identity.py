"""What a process inherits from who starts it: a forked one must have inherited the same."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from common.process.cpus import cpu_mask

_OF_THE_MOMENT = {
    *("PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR"),
    *("WINDOWID", "STY", "TMUX", "TMUX_PANE", "SSH_TTY", "SSH_CLIENT", "SSH_CONNECTION"),
    *("VISIONLINE_PROGRESS_FD", "VISIONLINE_LOCK_FD", "VISIONLINE_PARENT_PID"),
}
"""Variables that no library reads while it is imported; a forked process gets its own."""
_OF_PROCESS = ("cgroup", "oom_score_adj", "ns/mnt", "ns/net", "ns/pid", "ns/user", "ns/ipc")


def identity(target: str, environment: Mapping[str, str]) -> str:
    """Returns a digest that two processes share where one may stand in for the other."""
    parts = {
        "target": target,
        "python": [sys.executable, sys.version],
        "environment": {k: v for k, v in environment.items() if k not in _OF_THE_MOMENT},
        "umask": _umask(),
        "limits": [
            resource.getrlimit(getattr(resource, name))
            for name in sorted(dir(resource))
            if name.startswith("RLIMIT_")
        ],
        "cpus": cpu_mask(),
        "nice": os.nice(0),
        "user": [os.getuid(), os.getgid(), *sorted(os.getgroups())],
        "root": _of_process("root"),
        **{name: _of_process(name) for name in _OF_PROCESS},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _of_process(name: str) -> str:
    path = Path("/proc/self", name)
    with suppress(OSError):
        return os.readlink(path) if path.is_symlink() else path.read_text()
    return ""
