"""A process that writes one run as TFX's launcher does, or lists runs meanwhile.

python store_writer.py write STORE NUMBER NODES: prints what it wrote, as JSON.
python store_writer.py sql|mlmd STORE: lists until its input ends; prints how often.
"""

from __future__ import annotations

import contextlib
import json
import select
import sys
from pathlib import Path
from typing import Any

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reference_reader import open_reader

from lineage.store.connection import Connection
from lineage.store.mlmd import open_mlmd
from lineage.store.setup import make_ready

REUSE = {
    "reuse_context_if_already_exist": True,
    "reuse_artifact_if_already_exist_by_external_id": True,
    "force_reuse_context": True,
}
"""As TFX passes to put_execution."""


def write(connection: Connection, number: int, nodes: int) -> dict[str, Any]:
    """One run of nodes in a chain, in a pipeline that all writers share."""
    make_ready(connection)
    run_id, executions, artifacts = f"run-{number}", list[int](), list[int]()
    for node in range(nodes):
        executions.append(register(connection, run_id, node, artifacts[-1:]))
        artifacts.append(publish(connection, run_id, node, executions[-1]))
        annotate(connection, run_id, executions[-1])
    return {"run_id": run_id, "executions": executions, "artifacts": artifacts}


def register(connection: Connection, run_id: str, node: int, inputs: list[int]) -> int:
    """Types, contexts, and the execution as running."""
    store = open_mlmd(connection)
    contexts = [context(store, *c) for c in names(run_id, node)]
    type_id = store.put_execution_type(
        mlmd.ExecutionType(name=f"Node{node}", properties={"p": mlmd.STRING}),
        can_add_fields=True,
        can_omit_fields=True,
    )
    execution = mlmd.Execution(type_id=type_id, last_known_state=mlmd.Execution.RUNNING)
    pairs = [(a, event(mlmd.Event.INPUT)) for a in store.get_artifacts_by_id(inputs)]
    return int(store.put_execution(execution, pairs, contexts, **REUSE)[0])


def publish(connection: Connection, run_id: str, node: int, execution_id: int) -> int:
    """The execution as complete, and its output."""
    store = open_mlmd(connection)
    contexts = [context(store, *c) for c in names(run_id, node)]
    type_id = store.put_artifact_type(
        mlmd.ArtifactType(name=f"Artifact{node}"), can_add_fields=True, can_omit_fields=True
    )
    (execution,) = store.get_executions_by_id([execution_id])
    execution.last_known_state = mlmd.Execution.COMPLETE
    made = mlmd.Artifact(type_id=type_id, uri=f"/{run_id}/{node}", state=mlmd.Artifact.LIVE)
    pairs = [(made, event(mlmd.Event.OUTPUT))]
    return int(store.put_execution(execution, pairs, contexts, **REUSE)[1][0])


def annotate(connection: Connection, run_id: str, execution_id: int) -> None:
    """As `pipeline.recording.recorder` does."""
    store = open_mlmd(connection)
    (execution,) = store.get_executions_by_id([execution_id])
    execution.custom_properties["run_id"].string_value = run_id
    store.put_executions([execution])


def names(run_id: str, node: int) -> list[tuple[str, str]]:
    return [("pipeline", "shared"), ("pipeline_run", run_id), ("node", f"shared.node{node}")]


def context(store: Any, type_name: str, name: str) -> mlmd.Context:
    """As TFX's context_lib registers one."""
    type_id = store.put_context_type(
        mlmd.ContextType(name=type_name), can_add_fields=True, can_omit_fields=True
    )
    found = store.get_context_by_type_and_name(type_name, name)
    if found is None:
        with contextlib.suppress(errors.AlreadyExistsError):  # another writer was faster
            store.put_contexts([mlmd.Context(type_id=type_id, name=name)])
        found = store.get_context_by_type_and_name(type_name, name)
    return found


def event(kind: int) -> mlmd.Event:
    made = mlmd.Event(type=kind)
    made.path.steps.add().key = "data"
    made.path.steps.add().index = 0
    return made


def read(connection: Connection, via: Any) -> dict[str, Any]:
    """Lists again and again; what was seen once must stay."""
    times, seen = 0, set[tuple[str, int]]()
    while not select.select([sys.stdin], [], [], 0)[0]:
        reader = open_reader(connection, via)
        runs = reader.latest_contexts("pipeline_run", 20)
        executions = reader.executions_in([c.id for c in runs])
        ids = [e for found in executions.values() for e in found]
        now = {("run", c.id) for c in runs} | {("execution", e) for e in ids}
        now |= {("event", e.artifact_id) for e in reader.events(ids)}
        assert len(reader.executions(ids)) == len(ids)
        assert now >= seen, seen - now
        seen = now
        reader.close()
        times += 1
    return {"times": times, "seen": len(seen)}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    what, store_url, *rest = sys.argv[1:]
    place = Connection.parse(store_url)
    print(json.dumps(write(place, *map(int, rest)) if what == "write" else read(place, what)))
