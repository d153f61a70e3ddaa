"""Why executions whose key was the same could not be reused."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lineage.graph.producers import runs_of
from lineage.store.places import local_path
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Execution

_OUTCOMES = {
    "FAILED": "failed",
    "CANCELED": "was cancelled",
    "RUNNING": "was still running or was killed",
    "NEW": "was still running or was killed",
}


def why_not_reused(reader: Reader, same: Sequence[Execution], later: Execution) -> str:
    """Says why `later` did not reuse any of `same`, as a clause.

    TFX reuses an execution if it succeeded and its outputs are LIVE and there.  What was
    so is told from how it is now, where the times do not speak against it.

    Args:
      same: the executions with its key that began before it, the newest first.
    """
    done = [e for e in same if e.state in ("COMPLETE", "CACHED")]
    newest = (done or same)[0]
    run = runs_of(reader, [newest]).get(newest.id)
    where = f"execution {newest.id}" + (f" of run {run.name}" if run else "")
    earlier = f"the earlier execution with the same key ({where})"
    if not done:
        return f"{earlier} {_OUTCOMES.get(newest.state, f'is {newest.state}')}"
    if newest.state == "COMPLETE" and newest.updated > later.updated:
        return f"{earlier} had not ended yet"
    events = [e for e in reader.events([newest.id]) if e.kind == "output"]
    artifacts = reader.artifacts({e.artifact_id for e in events})
    # As TFX does: the states of all, and then the files.
    for why_unusable in (_by_state, _by_file):
        for event in events:
            reason = why_unusable(artifacts.get(event.artifact_id), later)
            if reason is not None:
                output = f"its output {event.key} (artifact {event.artifact_id})"
                return f"{earlier} could not be reused: {output} {reason}"
    return (
        f"{earlier} was not reused; its outputs are there now, and whether they were then is "
        "not recorded"
    )


def _by_state(artifact: Artifact | None, later: Execution) -> str | None:
    if artifact is None:
        return "is no longer recorded"
    changed_later = artifact.updated > max(later.created, later.updated)
    return None if artifact.state == "LIVE" or changed_later else f"is {artifact.state}"


def _by_file(artifact: Artifact | None, later: Execution) -> str | None:
    path = local_path(artifact.uri) if artifact else None
    return None if path is None or os.path.exists(path) else f"is not at {path}"
