"""Whether a run that is recorded as running still has a process."""

from __future__ import annotations

import socket
from pathlib import Path

from common.process import folder_lock
from common.record.run import Run
from lineage.store.records import Context

OPEN = ("RUNNING", "NEW")
"""States of executions that have not ended, as MLMD calls them."""
ENDED = "the process that ran it ended without a word (killed, or the machine went down)"


def is_alive(run: Context) -> bool | None:
    """Whether something of a run is alive; None where that cannot be known from here."""
    folder = output_folder(run)
    return None if folder is None else folder_lock.is_held(folder)


def output_folder(run: Context) -> Path | None:
    """The folder that a run of this machine writes to; None of another machine's."""
    recorded = Run.read(run)
    if recorded.host != socket.gethostname() or recorded.directory is None:
        return None
    try:
        output = (recorded.config or {})["run"]["output"]
    except (KeyError, TypeError):
        return None
    return Path(recorded.directory, output or f"visionline-runs/{recorded.pipeline}")
