"""A server that is started before its model is there, since most of its start is imports.

It watches an empty folder, as one may in production, and loads what comes.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.infra_validation.child import ServerProcess


@dataclass(frozen=True, slots=True)
class Standby:
    """A server and the folder that it serves, both for one candidate."""

    root: Path
    threads: int
    server: ServerProcess

    @property
    def serving(self) -> Path:
        return self.root / "serving"

    def close(self) -> None:
        self.server.stop()
        shutil.rmtree(self.root, ignore_errors=True)


_waiting: Standby | None = None


def warm_up(root: Path, threads: int) -> None:
    """Starts the server of a validation that is to come, so that it imports meanwhile.

    Args:
      root: a folder of its own; what a killed run left there is removed.
      threads: of the server's engines.
    """
    global _waiting
    if _waiting is None:
        with contextlib.suppress(OSError):  # `take` tries again, and says so
            _waiting = _started(root, threads)


def take(root: Path, threads: int) -> Standby:
    """The server that `warm_up` started, if it fits and lives, or else a new one."""
    global _waiting
    waiting, _waiting = _waiting, None
    if waiting is not None:
        fits = (waiting.root, waiting.threads) == (root, threads)
        if fits and waiting.server.process.poll() is None:
            return waiting
        waiting.close()
    return _started(root, threads)


def discard() -> None:
    """Ends a server that was not needed."""
    global _waiting
    waiting, _waiting = _waiting, None
    if waiting is not None:
        waiting.close()


def _started(root: Path, threads: int) -> Standby:
    shutil.rmtree(root, ignore_errors=True)
    serving = root / "serving"
    serving.mkdir(parents=True)
    return Standby(root, threads, ServerProcess(serving, root / "log.txt", threads))
