"""Watches every node: tells the terminal how it goes and MLMD where it came from.

TFX records neither a failure's reason, nor durations, nor what produced the
numbers; `recording` does, for either of its runners.
"""

from __future__ import annotations

import contextlib
import errno
import json
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from absl import logging
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata

from common.errors import VisionlineError
from common.files import tree_digest
from common.process.progress import emit
from common.record.artifacts import IMPORTED
from common.record.kinds import PIPELINE, RUN
from common.record.record import Record, annotate, annotated, value_of
from common.record.run import FAILED, RUNNING, Run
from common.record.steps import Step
from components import details
from components.tfx_private import Prepared, launches_watched
from lineage.graph.alive import ENDED
from lineage.store.places import HERE, Places
from pipeline.recording.cache_key import cache_record

_OPEN = (mlmd.Execution.RUNNING, mlmd.Execution.NEW)


class NodeFailed(Exception):
    """A node failed; its name and the reason are meant for people."""


class Recorder:
    """One run's record.

    Args:
      path_of: where the files of an artifact's URI lie.
    """

    def __init__(
        self, connection: Any, pipeline: str, run_id: str, path_of: Callable[[str], Path] = Path
    ) -> None:
        self.connection = connection
        self._path_of = path_of
        self._pipeline = pipeline
        self.run_id = run_id
        self.failure: NodeFailed | None = None
        self.executions: dict[str, int] = {}
        """Execution id by node id."""

    def node_started(self, node: str) -> None:
        details.take()
        emit({"kind": "node", "node": node, "state": "running"})

    def node_prepared(self, node: str, execution_id: int, cache: Step) -> None:
        """Says whose execution it is and what its cache key was, before it does any work."""
        self._add(execution_id, cache, self._place(node))

    def node_finished(self, node: str, execution_id: int, seconds: float) -> None:
        self.executions[node] = execution_id
        with self._store() as store:
            (execution,) = store.get_executions_by_id([execution_id])
            state = mlmd.Execution.State.Name(execution.last_known_state)
            cached = execution.last_known_state == mlmd.Execution.CACHED
            if execution.last_known_state == mlmd.Execution.FAILED:
                raise RuntimeError("its inputs could not be resolved; the log file says which.")
            annotate(execution, details.take())
            digests = None if cached else _output_digests(store, execution_id, self._path_of)
            done = Step(duration_seconds=seconds, output_digests=digests)
            _annotate(execution, self._place(node), done)
            store.put_executions([execution])
        emit(
            {
                "kind": "node",
                "node": node,
                "state": "cached" if cached else "done",
                "mlmd_state": state,
                "seconds": seconds,
            }
        )

    def node_failed(self, node: str, error: BaseException, seconds: float) -> NodeFailed:
        reason = explain(error)
        logging.error("%s failed: %s\n%s", node, reason, "".join(traceback.format_exception(error)))
        self.failure = NodeFailed(f"{node}: {reason}")
        self._end_running(mlmd.Execution.FAILED, reason, seconds, failed_node=node)
        emit({"kind": "node", "node": node, "state": "failed", "seconds": seconds, "error": reason})
        return self.failure

    def annotate(self, node: str, record: Record) -> None:
        """Adds properties to a node's execution."""
        self._add(self.executions[node], record)

    def _add(self, execution_id: int, *records: Record) -> None:
        with self._store() as store:
            (execution,) = store.get_executions_by_id([execution_id])
            _annotate(execution, *records)
            store.put_executions([execution])

    def annotate_run(self, record: Run) -> None:
        """Adds properties to the pipeline_run context, made if it is not there yet."""
        with self._store() as store:
            context = store.get_context_by_type_and_name(RUN, self.run_id)
            if context is None:
                context = mlmd.Context(
                    type_id=store.put_context_type(mlmd.ContextType(name=RUN)),
                    name=self.run_id,
                )
            _annotate(context, record)
            store.put_contexts([context])

    def interrupted(self) -> None:
        """Marks what was running as cancelled."""
        self._end_running(mlmd.Execution.CANCELED, "interrupted by the user", None)

    def recover(self, run_ids: Collection[str]) -> None:
        """Marks what killed earlier runs left as running.

        Args:
          run_ids: of this pipeline's runs that may have been killed.  Others write to the
            same store, and may be running.
        """
        with self._store() as store:
            context = store.get_context_by_type_and_name(PIPELINE, self._pipeline)
            if context is None:
                return
            stale = [
                e
                for e in store.get_executions_by_context(context.id)
                if e.last_known_state in _OPEN
                and any(c.name in run_ids for c in store.get_contexts_by_execution(e.id))
            ]
            for execution in stale:
                execution.last_known_state = mlmd.Execution.FAILED
                _annotate(execution, Step(error=ENDED))
            if stale:
                store.put_executions(stale)
            self._end_runs(store, run_ids, stale)

    def _end_runs(self, store: Any, run_ids: Collection[str], stale: list[Any]) -> None:
        """Marks runs that were left running as failed, whether or not a step of them ran."""
        steps = [Step.read(annotated(e)) for e in stale]
        nodes = {step.run_id: step.node_id for step in steps}
        for run in store.get_contexts_by_type(RUN):
            left = value_of(annotated(run), Run.state) == RUNNING
            if left and run.name in run_ids and run.name != self.run_id:
                node = nodes.get(run.name)
                error = f"{node}: {ENDED}" if node else ENDED
                _annotate(run, Run(state=FAILED, error=error))
                store.put_contexts([run])

    def _end_running(
        self, state: int, reason: str, seconds: float | None, failed_node: str | None = None
    ) -> None:
        """Ends this run's running executions, and explains the one that failed."""
        with self._store() as store:
            run = store.get_context_by_type_and_name(RUN, self.run_id)
            if run is None:
                return
            executions = store.get_executions_by_context(run.id)
            ended = [e for e in executions if e.last_known_state in _OPEN]
            if failed_node and not ended and executions:
                # The launcher has already published it as failed.
                newest = max(executions, key=lambda e: e.id)
                if newest.last_known_state == mlmd.Execution.FAILED:
                    ended = [newest]
            for execution in ended:
                execution.last_known_state = state
                annotate(execution, details.take())
                ended_by = Step(error=reason, duration_seconds=seconds)
                _annotate(execution, self._place(failed_node), ended_by)
            if ended:
                store.put_executions(ended)

    def _place(self, node: str | None) -> Step:
        """Says on an execution what MLMD says in contexts, where it is slow to find."""
        return Step(run_id=self.run_id, node_id=node)

    @contextlib.contextmanager
    def _store(self) -> Iterator[Any]:
        with metadata.Metadata(self.connection) as handle:
            yield handle.store


def explain(error: BaseException) -> str:
    """Returns an exception as a sentence for people."""
    if isinstance(error, VisionlineError):
        return str(error)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or "No space left" in str(error):
        return "No room left on the disk. Free some, then run the same command again."
    if isinstance(error.__cause__, VisionlineError):
        return str(error.__cause__)
    return f"{type(error).__name__}: {error}"


def recording(
    recorder: Recorder, before: Callable[[str], None], places: Places = HERE
) -> contextlib.AbstractContextManager[None]:
    """Records every node that TFX launches while it lasts.

    Args:
      before: called with each node that is executed, and not cached.
      places: of the output folder.
    """

    def launch(node: str, launch_it: Callable[[], Any]) -> Any:
        recorder.node_started(node)
        began = time.monotonic()
        try:
            info = launch_it()
            recorder.node_finished(node, info.execution_id, time.monotonic() - began)
            return info
        except Exception as e:
            raise recorder.node_failed(node, e, time.monotonic() - began) from e

    def prepared(node: Prepared) -> None:
        recorder.node_prepared(node.node, node.execution_id, cache_record(node, places))

    return launches_watched(launch, prepared, before)


def _output_digests(
    store: Any, execution_id: int, path_of: Callable[[str], Path]
) -> dict[str, str]:
    """Returns SHA-256 over the files of each output, by URI."""
    ids = [
        e.artifact_id
        for e in store.get_events_by_execution_ids([execution_id])
        if e.type == mlmd.Event.OUTPUT
    ]
    uris = sorted({a.uri for a in store.get_artifacts_by_id(ids)})
    return {uri: tree_digest(path_of(uri)) for uri in uris if path_of(uri).is_dir()}


def _annotate(target: Any, *records: Record) -> None:
    annotate(target, *records)
    if IMPORTED in target.custom_properties:
        # It is newer now than where it came from, so that it replaces that.
        original = target.custom_properties[IMPORTED]
        times = json.loads(original.string_value)
        original.string_value = json.dumps({**times, "updated": round(time.time() * 1000)})
