"""A server that is started before its model is there, since most of its start is imports."""

from __future__ import annotations

import contextlib
from pathlib import Path

from components.infra_validation.child import ServerProcess

_waiting: ServerProcess | None = None


def warm_up(root: Path, threads: int) -> None:
    """Starts the server of a validation that is to come, so that it imports meanwhile."""
    global _waiting
    if _waiting is None:
        with contextlib.suppress(OSError):  # `take` tries again, and says so
            _waiting = ServerProcess(root, threads)


def take(root: Path, threads: int) -> ServerProcess:
    """Returns the server that `warm_up` started, if it fits and lives, or else a new one."""
    global _waiting
    waiting, _waiting = _waiting, None
    if waiting is not None:
        fits = (waiting.root, waiting.threads) == (root, threads)
        if fits and waiting.process.poll() is None:
            return waiting
        waiting.close()
    return ServerProcess(root, threads)


def discard() -> None:
    """Ends a server that was not needed."""
    global _waiting
    waiting, _waiting = _waiting, None
    if waiting is not None:
        waiting.close()
