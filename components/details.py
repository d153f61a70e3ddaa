"""What an executor has to say about its execution, for the record in MLMD.

TFX gives executors no way to write properties on their own execution.  They
leave them here, in the process they run in, and whoever launched them (the
runner, or the container entrypoint) takes them and writes them.
"""

from __future__ import annotations

_details: dict[str, str | int | float] = {}


def record(**values: str | int | float) -> None:
    """Leaves properties for the execution that is running in this process."""
    _details.update(values)


def take() -> dict[str, str | int | float]:
    """Returns what was recorded and forgets it."""
    taken = dict(_details)
    _details.clear()
    return taken
