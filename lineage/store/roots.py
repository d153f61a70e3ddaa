"""Where an output folder has been, by the artifacts that its runs made."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import closing

from common.errors import NoDatabaseError
from common.record.kinds import RUN
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.places import root_of
from lineage.store.reader import Reader
from lineage.store.records import Artifact


def recorded_roots(connection: Connection, run_ids: Collection[str]) -> tuple[str, ...]:
    """The newest first.

    Args:
      run_ids: of the folder's runs: others may be recorded in the same store.

    Raises:
      StoreError: the store cannot be read.
    """
    if not run_ids:
        return ()
    try:
        reader = open_reader(connection)
    except NoDatabaseError:
        return ()
    with closing(reader):
        found = {root_of(a.uri): a.id for a in _made(reader, run_ids)}
    return tuple(root for root in sorted(found, key=lambda r: -found[r]) if root is not None)


def _made(reader: Reader, run_ids: Collection[str]) -> Iterable[Artifact]:
    """What runs made, in the order of ids; not what they took from the cache."""
    runs = reader.contexts_named(RUN, run_ids)
    inside = reader.executions_in([r.id for r in runs.values()])
    ids = {e for executions in inside.values() for e in executions}
    worked = {i for i, e in reader.executions(ids).items() if e.state != "CACHED"}
    outputs = {e.artifact_id for e in reader.events(worked) if e.kind == "output"}
    return sorted(reader.artifacts(outputs).values(), key=lambda a: a.id)
