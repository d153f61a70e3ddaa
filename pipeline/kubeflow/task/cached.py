"""What Kubeflow took from its cache, in the record of the run that took it.

Nothing of such a task runs: its outputs are an earlier run's, its record among them, which
tells of that run alone.  So the last task, which has the records of all the others, adds
what TFX's own cache would have written: an execution in the state CACHED for each.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from common.record.artifacts import IMPORTED
from common.record.kinds import CACHE, RUN
from common.record.record import annotate, annotated
from common.record.steps import Step
from lineage.cache.key_parts import is_parameter
from lineage.store.sql import times


def record_cached(store: Any, run_id: str, works: Mapping[str, str]) -> None:
    """Adds an execution for each component that a run took from the cache.

    Args:
      store: MLMD's, with the records of those who did the work.
      run_id: the run that took them; the store knows it.
      works: by component, the run that did its work.
    """
    executions = [e for e in store.get_executions() if _place(e) in works.items()]
    if not executions:
        return
    types = {t.id: t.name for t in store.get_context_types()}
    run = store.get_context_by_type_and_name(RUN, run_id)
    # When Kubeflow looked into its cache is not told; it was before what ran began.
    began = _created(run)
    for work in sorted(executions, key=_created):
        (id_,) = store.put_executions([_cached(work, run_id, began)])
        events = list(_events(store, work.id, id_, began))
        store.put_events(events)
        contexts = [run.id, *_lasting(store, work.id, types)]
        store.put_attributions_and_associations(
            [mlmd.Attribution(context_id=run.id, artifact_id=e.artifact_id) for e in events],
            [mlmd.Association(context_id=c, execution_id=id_) for c in contexts],
        )


def _place(execution: Any) -> tuple[str, str]:
    """Returns the component, and the run that it was executed in."""
    step = Step.read(annotated(execution))
    return (step.node_id, step.run_id) if step.node_id and step.run_id else ("", "")


def _created(node: Any) -> int:
    """Returns when it was made, in milliseconds; if it was imported, the original time."""
    return times(annotated(node), node.create_time_since_epoch, node.last_update_time_since_epoch)[
        0
    ]


def _cached(work: Any, run_id: str, began: int) -> Any:
    """Returns an execution that took what another did; what came of that is recorded there."""
    execution = mlmd.Execution(
        type_id=work.type_id, name=str(uuid.uuid4()), last_known_state=mlmd.Execution.CACHED
    )
    for key, value in work.properties.items():
        execution.properties[key].CopyFrom(value)
    for key, value in work.custom_properties.items():
        if is_parameter(key) and key != IMPORTED:
            execution.custom_properties[key].CopyFrom(value)
    annotate(execution, Step(node_id=_place(work)[0], run_id=run_id))
    annotate(execution, {IMPORTED: json.dumps({"created": began, "updated": began})})
    return execution


def _events(store: Any, work_id: int, id_: int, began: int) -> Iterator[Any]:
    for event in store.get_events_by_execution_ids([work_id]):
        copy = mlmd.Event(
            execution_id=id_,
            artifact_id=event.artifact_id,
            type=event.type,
            milliseconds_since_epoch=began,
        )
        copy.path.CopyFrom(event.path)
        yield copy


def _lasting(store: Any, execution_id: int, types: Mapping[int, str]) -> list[int]:
    """Returns contexts of an execution that are of no run: the pipeline and the node."""
    contexts = store.get_contexts_by_execution(execution_id)
    return [c.id for c in contexts if types[c.type_id] not in (RUN, CACHE)]
