"""`lineage model` and `lineage served`: where a model comes from, and where it went."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from common.record.artifacts import Pushed
from common.record.kinds import (
    BLESSING,
    EVALUATION,
    EXAMPLES,
    INFRA_BLESSING,
    MODEL,
    PUSHED_MODEL,
    SCHEMA,
    TRANSFORM_GRAPH,
)
from common.record.record import name_of, value_of
from lineage.graph import facts
from lineage.graph.marks import Erasure, erasures
from lineage.graph.producers import BASELINE, Graph, ancestry, runs_of
from lineage.graph.refs import find_model
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Event, Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLineage:
    """Everything that made one model, what judged it, and where it was pushed."""

    model: facts.ModelFacts
    run: facts.RunFacts | None
    """The run whose Trainer made it."""
    data: tuple[facts.DataFacts, ...]
    schema: facts.SchemaFacts | None
    transform: facts.TransformFacts | None
    training: facts.TrainingFacts | None
    verdicts: tuple[facts.Verdict, ...]
    """The newest last."""
    infra_verdicts: tuple[facts.InfraVerdict, ...]
    """Trials in the server, the newest last."""
    pushes: tuple[facts.Push, ...]
    producers: tuple[facts.Step, ...]
    """The executions that did the work, in order; what was cached is not among them."""
    reused: tuple[int, ...]
    """Ids of those that an earlier run had done, and the model's run took from the cache."""
    withdrawn: tuple[Erasure, ...]
    """Erasures of images that it used, the newest first."""


def model_lineage(reader: Reader, ref: str, cut: Collection[str] = BASELINE) -> ModelLineage:
    """The lineage of the model that `ref` means.

    Args:
      cut: keys of inputs that are not followed; without BASELINE, the ancestry of
        warm starts and baselines is among the producers.

    Raises:
      NotFoundError: there is no such model.
    """
    return lineage_of(reader, find_model(reader, ref), cut)


def lineage_of(reader: Reader, model: Artifact, cut: Collection[str] = BASELINE) -> ModelLineage:
    judged = Judged.of(reader, model)
    others = () if BASELINE.issubset(cut) else [b.id for b in judged.baselines.values()]
    graph = ancestry(reader, [model.id, *others], cut)
    runs = runs_of(reader, [*graph.executions.values(), *judged.executions.values()])
    maker = {e.artifact_id: e.execution_id for e in graph.events if e.kind == "output"}

    def made(artifact: Artifact) -> Execution | None:
        return graph.executions.get(maker.get(artifact.id, 0))

    trainer = made(model)
    # What the model itself is made from, without its baselines.
    own = _upstream(graph, model.id)
    near = [graph.artifacts[i] for i in sorted(own)]
    # Transformed examples have a maker with examples among its inputs; raw ones do not.
    derived = {e.execution_id for e in graph.events if e.kind == "input"}
    raw = [a for a in near if a.type == EXAMPLES and maker.get(a.id) not in derived]
    schemas = [a for a in near if a.type == SCHEMA]
    graphs = [a for a in near if a.type == TRANSFORM_GRAPH]
    run = runs.get(trainer.id) if trainer else None
    producers = sorted(
        [*graph.executions.values(), *judged.executions.values()], key=lambda e: e.id
    )
    above = {maker.get(i, 0) for i in own}
    reused = (i for i in sorted(above & runs.keys()) if run is not None and runs[i].id != run.id)
    return ModelLineage(
        model=facts.model_facts(model),
        run=facts.run_facts(reader, run) if run else None,
        data=tuple(facts.data_facts(a, made(a)) for a in raw),
        schema=facts.schema_facts(schemas[0], made(schemas[0])) if schemas else None,
        transform=(facts.transform_facts(graphs[0], made(graphs[0]), trainer) if graphs else None),
        training=facts.training_facts(trainer) if trainer else None,
        verdicts=judged.verdicts(reader, runs),
        infra_verdicts=judged.infra_verdicts(runs),
        pushes=judged.pushes(model, runs),
        producers=tuple(facts.step(e, runs.get(e.id)) for e in producers),
        reused=tuple(reused),
        withdrawn=tuple(e for e in erasures(reader) if model.id in e.models),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was done with one model: evaluations, trials in the server, and pushes."""

    executions: Mapping[int, Execution]
    artifacts: Mapping[int, Artifact]
    baselines: Mapping[int, Artifact]
    """By id of the evaluation's execution."""
    events: tuple[Event, ...]

    @classmethod
    def of(cls, reader: Reader, model: Artifact) -> Judged:
        inputs = [e for e in reader.consumers([model.id]) if e.key not in BASELINE]
        events = reader.events({e.execution_id for e in inputs})
        artifacts = reader.artifacts({e.artifact_id for e in events})
        kinds = {EVALUATION, BLESSING, INFRA_BLESSING, PUSHED_MODEL}
        wanted = {
            e.execution_id
            for e in events
            if e.kind == "output"
            and e.artifact_id in artifacts
            and artifacts[e.artifact_id].type in kinds
        }
        executions = {i: x for i, x in reader.executions(wanted).items() if x.state == "COMPLETE"}
        return cls(
            executions=executions,
            artifacts=artifacts,
            baselines={
                e.execution_id: artifacts[e.artifact_id]
                for e in events
                if e.key in BASELINE
                and e.artifact_id in artifacts
                and artifacts[e.artifact_id].type == MODEL
            },
            events=tuple(e for e in events if e.execution_id in executions),
        )

    def verdicts(self, reader: Reader, runs: Mapping[int, Context]) -> tuple[facts.Verdict, ...]:
        verdicts = []
        for id_, execution in sorted(self.executions.items()):
            made = self.made(id_)
            if not {EVALUATION, BLESSING} & made.keys():
                continue
            baseline = self.baselines.get(id_)
            verdict = facts.verdict(execution, runs.get(id_), made.get(BLESSING), baseline)
            if baseline is not None and (name := pushed_as(reader, baseline)) is not None:
                verdict = replace(verdict, baseline=name)
            verdicts.append(verdict)
        return tuple(verdicts)

    def infra_verdicts(self, runs: Mapping[int, Context]) -> tuple[facts.InfraVerdict, ...]:
        made = {id_: self.made(id_).get(INFRA_BLESSING) for id_ in sorted(self.executions)}
        return tuple(
            facts.infra_verdict(self.executions[id_], runs.get(id_), blessing)
            for id_, blessing in made.items()
            if blessing is not None
        )

    def pushes(self, model: Artifact, runs: Mapping[int, Context]) -> tuple[facts.Push, ...]:
        made = {id_: self.made(id_).get(PUSHED_MODEL) for id_ in sorted(self.executions)}
        return tuple(
            facts.push(pushed, model, runs.get(id_))
            for id_, pushed in made.items()
            # TFX's own Pusher makes the artifact, and says in it that it pushed nothing.
            if pushed is not None and value_of(pushed, Pushed.pushed)
        )

    def made(self, execution_id: int) -> dict[str, Artifact]:
        """An execution's outputs by type."""
        ids = [
            e.artifact_id
            for e in self.events
            if e.execution_id == execution_id and e.kind == "output"
        ]
        return {self.artifacts[i].type: self.artifacts[i] for i in ids if i in self.artifacts}


def pushed_as(reader: Reader, model: Artifact) -> str | None:
    """`name@version` of a model's first push; None if it was not pushed."""
    for pushed in reader.artifacts_by_type(PUSHED_MODEL, {name_of(Pushed.model_id): model.id}):
        if (recorded := Pushed.read(pushed)).pushed:
            return recorded.ref
    return None


def _upstream(graph: Graph, artifact_id: int) -> set[int]:
    """Artifacts that one was made from, within a graph; itself left out."""
    maker = {e.artifact_id: e.execution_id for e in graph.events if e.kind == "output"}
    inputs: dict[int, set[int]] = {}
    for event in graph.events:
        if event.kind == "input":
            inputs.setdefault(event.execution_id, set()).add(event.artifact_id)
    upstream: set[int] = set()
    frontier = {artifact_id}
    while frontier:
        upstream |= frontier
        made_from = (inputs.get(maker.get(a, 0), set()) for a in frontier)
        frontier = set[int]().union(*made_from) - upstream
    return upstream - {artifact_id}
