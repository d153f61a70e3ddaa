"""What an executor has to say about its execution, for the record in MLMD.

TFX gives executors no way to write properties on their own execution.  They
leave them here, in the process they run in, and whoever launched them (the
runner, or the container entrypoint) takes them and writes them.
"""

from __future__ import annotations

from common.record.record import Record, Value

_details: dict[str, Value] = {}


def record(*records: Record) -> None:
    """Leaves properties for the execution that is running in this process."""
    for each in records:
        _details.update(each.properties())


def take() -> dict[str, Value]:
    """Returns what was recorded and forgets it."""
    taken = dict(_details)
    _details.clear()
    return taken
