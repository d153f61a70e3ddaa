"""What an export about one model or run must hold for the same answers about it."""

from __future__ import annotations

from common.record.artifacts import Pushed
from common.record.kinds import MODEL, PUSHED_MODEL, RUN
from common.record.record import name_of
from lineage.exchange.dump import Selection
from lineage.exchange.portable import REFERENCES
from lineage.graph.producers import BASELINE, ancestry, runs_of
from lineage.graph.refs import find_model, outputs_of_run
from lineage.questions.model import Judged
from lineage.store.reader import Reader


def closure(reader: Reader, ref: str) -> Selection:
    """Selects all of the run, or of the run that made the model, and what it was made from.

    Of other runs that made or judged something of it, those executions alone; of its
    baselines, only what they are called.

    Raises:
      NotFoundError: nothing is called `ref`.
    """
    run = reader.context(RUN, ref)
    if run is not None:
        models = [a for a in outputs_of_run(reader, run) if a.type == MODEL]
    else:
        models = [find_model(reader, ref)]
        makers = reader.executions(reader.producers([m.id for m in models]).values())
        run = next(iter(runs_of(reader, list(makers.values())).values()), None)
    executions = set(reader.executions_in([run.id]).get(run.id, [])) if run else set[int]()
    for model in models:
        executions |= Judged.of(reader, model).executions.keys()
    used = {e.artifact_id for e in reader.events(executions)} | {m.id for m in models}
    baselines = {e.artifact_id for e in reader.events(executions) if e.key in BASELINE}
    graph = ancestry(reader, used - baselines)
    executions |= graph.executions.keys()
    artifacts = used | graph.artifacts.keys()
    artifacts |= {e.artifact_id for e in reader.events(executions)}
    artifacts |= _mentioned(reader, artifacts)
    contexts = {c.id for of_one in reader.contexts_of(executions).values() for c in of_one}
    return Selection(
        artifacts=frozenset(artifacts),
        executions=frozenset(executions),
        contexts=frozenset(contexts | {run.id} if run else contexts),
    )


def _mentioned(reader: Reader, artifact_ids: set[int]) -> set[int]:
    """Returns models that artifacts name by id, and the pushes that name models."""
    artifacts = reader.artifacts(artifact_ids).values()
    ids = {v for a in artifacts for k in REFERENCES if isinstance(v := a.get(k), int)}
    for model in {a.id for a in artifacts if a.type == MODEL} | ids:
        pushes = reader.artifacts_by_type(PUSHED_MODEL, {name_of(Pushed.model_id): model})
        ids |= {a.id for a in pushes}
    return ids
