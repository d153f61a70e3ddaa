"""Everything a reader can be asked about a small store, to compare the two readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from reference_reader import open_reader

from common.record.kinds import CACHE, NODE, PIPELINE, RUN
from lineage.store.connection import Connection
from lineage.store.reader import Reader

NOWHERE = 1_000_003
"""An id that is in no store."""
KEYS = ("span", "pushed", "model_name", "run_id", "blessed", "extra_columns", "state")
CONTEXT_TYPES = (RUN, PIPELINE, NODE, CACHE, "none")


@contextmanager
def both_readers(path: Path) -> Iterator[tuple[Reader, Reader]]:
    """The fast one, and the reference."""
    connection = Connection.parse(str(path))
    fast, reference = open_reader(connection, "sql"), open_reader(connection, "mlmd")
    try:
        yield fast, reference
    finally:
        fast.close()
        reference.close()


def methods() -> set[str]:
    """Of the interface."""
    return {n for n in vars(Reader) if not n.startswith("_")} - {"where", "places", "close"}


def every_answer(reader: Reader) -> dict[str, Any]:
    """Answers by method, for all that is in the store and for what is not."""
    artifacts = list(reader.all_artifacts())
    states = reader.execution_states()
    events = sorted(reader.all_events())
    artifact_ids = {a.id for a in artifacts} | {e.artifact_id for e in events} | {NOWHERE}
    execution_ids = states.keys() | {e.execution_id for e in events} | {NOWHERE}
    contexts = {t: reader.latest_contexts(t) for t in CONTEXT_TYPES}
    context_ids = {c.id for found in contexts.values() for c in found} | {NOWHERE}
    types = sorted({a.type for a in artifacts} | {"none"})
    known = sorted({(k, v) for a in artifacts for k, v in a.custom.items() if _plain(v)}, key=repr)
    known = known[:: len(known) // 6 + 1]
    parts: list[tuple[Any, ...]] = [(), *known]
    return {
        "all_artifacts": artifacts,
        "execution_states": states,
        "all_events": events,
        "artifacts": reader.artifacts(artifact_ids),
        "executions": reader.executions(execution_ids),
        "contexts": reader.contexts(context_ids),
        "artifacts_by_uri": {
            uri: reader.artifacts_by_uri(uri) for uri in {a.uri for a in artifacts} | {"none"}
        },
        "artifacts_by_type": {
            (t, *where): reader.artifacts_by_type(t, dict([where]) if where else None)
            for t in types
            for where in parts
        }
        | {("two", *pair): _having(reader, types, pair) for pair in pairwise(known)},
        "context": {
            (t, name): reader.context(t, name)
            for t in CONTEXT_TYPES
            for name in [*(c.name or "" for c in contexts[t]), "none"]
        },
        "contexts_named": {
            t: reader.contexts_named(t, [*(c.name or "" for c in contexts[t]), "none"])
            for t in CONTEXT_TYPES
        },
        "latest_contexts": [
            [*contexts.values()],
            [_ids(reader.latest_contexts(t, 2)) for t in CONTEXT_TYPES],
            [_ids(reader.latest_contexts(t, 2, before=5)) for t in CONTEXT_TYPES],
            [
                _ids(reader.latest_contexts(t, like={"state": values}))
                for t in CONTEXT_TYPES
                for values in (["failed"], ["complete", "1", ""], ["failed", None], [None])
            ],
        ],
        "executions_in": reader.executions_in(context_ids),
        "contexts_of": [reader.contexts_of(execution_ids, t) for t in (None, *CONTEXT_TYPES)],
        "events": reader.events(execution_ids),
        "producers": reader.producers(artifact_ids),
        "consumers": reader.consumers(artifact_ids),
        "takers": [reader.takers(artifact_ids, cut) for cut in ((), ("model", "examples"))],
        "made_by": reader.made_by(execution_ids),
        "values": [
            reader.values("Artifact", artifact_ids, KEYS),
            reader.values("Execution", execution_ids, KEYS),
        ],
        "artifact_values": [
            reader.artifact_values(t, KEYS, dict(where))
            for t in types
            for where in ([], *([pair] for pair in known))
        ],
    }


def _ids(contexts: list[Any]) -> list[int]:
    return [c.id for c in contexts]


def _having(reader: Reader, types: list[str], pair: tuple[Any, Any]) -> list[Any]:
    return [reader.artifacts_by_type(t, dict(pair)) for t in types]


def _plain(value: object) -> bool:
    """What artifacts may be looked up by."""
    return isinstance(value, str | int) and not isinstance(value, bool)
