"""Where the servers' sockets lie: a folder of this user's alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

IDLE_VARIABLE = "VISIONLINE_KEEP_MINUTES"
"""Environment variable: how long a server stays after the last run; 0: there is none."""
_IDLE_MINUTES = 15.0
_ENDING = ".sock"


def idle_seconds() -> float:
    """Returns how long a server stays that is not asked for anything; 0 for none."""
    try:
        return max(0.0, 60 * float(os.environ.get(IDLE_VARIABLE, _IDLE_MINUTES)))
    except ValueError:
        return 0.0


def folder() -> Path | None:
    """Returns the folder, made where it is new; None where it is not ours alone."""
    place = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    path = Path(place, f"visionline-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        at = path.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(at.st_mode) and at.st_uid == os.getuid() and not at.st_mode & 0o077
    return path if ours else None


def socket_of(identity: str) -> Path | None:
    """Returns where the server of an identity listens; None where there can be none."""
    place = folder()
    return place and place / f"{identity}{_ENDING}"


def sockets() -> list[Path]:
    """Lists where servers listen, or have listened."""
    place = folder()
    return sorted(place.glob(f"*{_ENDING}")) if place else []
