"""The drawing of one model's lineage: the handful of real producers, from data to serving."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from common.formats import duration, known, share
from common.record.kinds import BLESSING, EVALUATION, MODEL, PUSHED_MODEL
from lineage.drawing.drawing import Drawing, Edge, Node, State
from lineage.drawing.sections import brief_lines, sections
from lineage.graph import facts
from lineage.graph.producers import BASELINE, Graph, ancestry
from lineage.questions.model import Judged, ModelLineage, lineage_of
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Event

_JUDGED = 4
"""Evaluations and pushes that are drawn: the newest."""
_GONE = ("DELETED", "MARKED_FOR_DELETION")
_VERDICT = (EVALUATION, BLESSING)


def depict(reader: Reader, model: Artifact, lineage: ModelLineage | None = None) -> Drawing:
    """Draws what made a model, what judged it and where it was pushed.

    The model's lineage is asked for, unless it is there already.
    """
    lineage = lineage_of(reader, model) if lineage is None else lineage
    briefs = {(s.title, e.record): e.brief for s in sections(lineage) for e in s.entries}
    picture = _Picture(lineage, ancestry(reader, [model.id]), Judged.of(reader, model), briefs)
    picture.ancestors()
    picture.verdicts_and_pushes()
    names = [f"{p.name}@{p.version}" for p in lineage.pushes[-1:]]
    return Drawing(
        title=f"Lineage of {(*names, f'model {model.id}')[0]}",
        nodes=tuple(picture.nodes.values()),
        edges=tuple(sorted(set(picture.edges))),
    )


@dataclass(slots=True)
class _Picture:
    lineage: ModelLineage
    graph: Graph
    judged: Judged
    briefs: Mapping[tuple[str, int | None], tuple[str, ...]]
    """By section's title and record, see `lineage.drawing.sections`."""
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def ancestors(self) -> None:
        maker = {e.artifact_id: e.execution_id for e in self.graph.events if e.kind == "output"}
        reused = {
            s.execution_id
            for s in self.lineage.producers
            if self.lineage.run is not None and s.run_id not in (None, self.lineage.run.run_id)
        }
        for data in self.lineage.data:
            if data.source is not None and data.artifact_id in maker:
                id_ = maker[data.artifact_id]
                quarantined = known(data.quarantined, "{:,} in quarantine".format, "")
                origin = Node(
                    id=f"d{id_}",
                    kind="artifact",
                    title=f"Data: {PurePath(data.source).name or data.source}",
                    details=brief_lines(data.source, quarantined),
                    state="reused" if id_ in reused else "made",
                )
                self.nodes[origin.id] = origin
                self._join(origin.id, f"x{id_}")
        for id_ in sorted(self.graph.executions):
            self._execution(id_, reused=id_ in reused)
        for id_, artifact in sorted(self.graph.artifacts.items()):
            self._artifact(artifact, reused=maker.get(id_) in reused)
        for event in self.graph.events:
            self._event(event, f"a{event.artifact_id}")

    def verdicts_and_pushes(self) -> None:
        verdicts = {v.execution_id: v for v in self.lineage.verdicts}
        pushes = {p.artifact_id: p for p in self.lineage.pushes}
        trials = {t.execution_id: t for t in self.lineage.infra_verdicts}
        shown, hidden = self._shown(verdicts, pushes)
        shown = sorted({*shown, *self._trials_between(shown, trials)})
        if hidden:
            more = Node(
                id="more",
                kind="execution",
                title=f"{hidden} more",
                details=("evaluations and pushes",),
            )
            self.nodes[more.id] = more
            self._join(f"a{self.lineage.model.artifact_id}", more.id)
        place: dict[int, str | None] = {}  # node by artifact; None: not drawn
        for event in self.judged.events:
            artifact = self.judged.artifacts.get(event.artifact_id)
            if event.kind != "output" or artifact is None:
                continue
            place[artifact.id] = None
            if event.execution_id not in shown:
                continue
            if artifact.type in _VERDICT and event.execution_id in verdicts:
                place[artifact.id] = self._verdict(verdicts[event.execution_id])
            elif event.execution_id in trials:
                place[artifact.id] = self._trial(trials[event.execution_id])
            elif artifact.type == PUSHED_MODEL and artifact.id in pushes:
                place[artifact.id] = self._version(pushes[artifact.id])
        for id_ in shown:
            self._execution(id_, reused=False)
        for event in self.judged.events:
            artifact = self.judged.artifacts.get(event.artifact_id)
            if event.execution_id not in shown or artifact is None:
                continue
            if event.key in BASELINE:
                if artifact.type == MODEL:
                    self._baseline(artifact, verdicts.get(event.execution_id), event)
                continue
            if event.artifact_id not in place:
                if f"a{artifact.id}" not in self.nodes:
                    self._artifact(artifact, reused=False)
                place[artifact.id] = f"a{artifact.id}"
            if (node := place[event.artifact_id]) is not None:
                self._event(event, node)

    def _shown(self, verdicts: Collection[int], pushes: Collection[int]) -> tuple[list[int], int]:
        """Returns the evaluations and pushes to draw, and how many more there are.

        First those that led to a pushed version, then the newest.
        """
        events = self.judged.events
        pushed = {e.execution_id for e in events if e.kind == "output" and e.artifact_id in pushes}
        judged = {e.artifact_id for e in events if e.kind == "input" and e.execution_id in pushed}
        led = {e.execution_id for e in events if e.kind == "output" and e.artifact_id in judged}
        wanted = sorted({*verdicts, *pushed}, key=lambda i: (i in pushed or i in led, i))
        return sorted(wanted[-_JUDGED:]), len(wanted[:-_JUDGED])

    def _trials_between(self, shown: Collection[int], trials: Collection[int]) -> set[int]:
        """Returns the trials in the server that follow an evaluation, or lead to a push, shown."""
        events = self.judged.events
        verdicts = {e.artifact_id for e in events if e.kind == "output"}
        near: dict[int, set[int]] = defaultdict(set)
        for event in events:
            if event.artifact_id in verdicts:
                near[event.artifact_id].add(event.execution_id)
        return {t for ids in near.values() if ids & {*shown} for t in ids & {*trials}}

    def _join(self, source: str, target: str, label: str = "", aside: bool = False) -> None:
        self.edges.append(Edge(source=source, target=target, label=label, aside=aside))

    def _event(self, event: Event, node: str) -> None:
        execution = f"x{event.execution_id}"
        if event.kind == "input":
            self._join(node, execution, event.key)
        else:  # a verdict is several artifacts
            self._join(execution, node, "" if node[0] in "vp" else event.key)

    def _execution(self, id_: int, *, reused: bool) -> None:
        step = next((s for s in self.lineage.producers if s.execution_id == id_), None)
        if step is None:
            return
        took = known(step.duration_seconds, duration, "")
        how = ", ".join(brief_lines(took, "reused" if reused else None))
        failed = step.state in ("FAILED", "CANCELED")
        self.nodes[f"x{id_}"] = Node(
            id=f"x{id_}",
            kind="execution",
            title=step.component,
            details=brief_lines(step.run_id, how, step.error),
            state="failed" if failed else "reused" if reused else "made",
            record=id_,
            run_id=step.run_id,
        )

    def _artifact(self, artifact: Artifact, *, reused: bool) -> None:
        gone = artifact.state in _GONE
        titles = ("data", "schema", "transform", "model")
        about = next(filter(None, (self.briefs.get((t, artifact.id)) for t in titles)), ())
        self.nodes[f"a{artifact.id}"] = Node(
            id=f"a{artifact.id}",
            kind="artifact",
            title=artifact.type or f"Artifact {artifact.id}",
            details=("files deleted",) * gone + (about or (f"artifact {artifact.id}",)),
            state="deleted" if gone else "reused" if reused else "made",
            record=artifact.id,
        )

    def _outcome(
        self, id_: str, title: str, section: str, record: int, state: State, run_id: str | None
    ) -> str:
        """Adds a verdict, trial or version, with what a section says of it; returns its id."""
        self.nodes[id_] = Node(
            id=id_,
            kind="version" if id_[0] == "p" else "artifact",
            title=title,
            details=self.briefs.get((section, record), ()),
            state=state,
            record=record,
            run_id=run_id,
        )
        return id_

    def _verdict(self, verdict: facts.Verdict) -> str:
        titles: Mapping[bool | None, tuple[str, State]] = {
            True: ("Blessed", "made"),
            False: ("Not blessed", "failed"),
            None: ("Evaluated", "made"),
        }
        title, state = titles[verdict.blessed]
        id_ = verdict.execution_id
        return self._outcome(f"v{id_}", title, "judged by", id_, state, verdict.run_id)

    def _trial(self, trial: facts.InfraVerdict) -> str:
        title = "Not servable" if trial.blessed is False else "Servable"
        if trial.skipped is not None:
            title = "Skipped in the server"
        state: State = "failed" if trial.blessed is False else "made"
        id_ = trial.execution_id
        return self._outcome(f"v{id_}", title, "in the server", id_, state, trial.run_id)

    def _version(self, push: facts.Push) -> str:
        title = f"{push.name or 'pushed'}@{push.version or '?'}"
        state: State = "deleted" if push.serving == "removed" else "pushed"
        id_ = push.artifact_id
        return self._outcome(f"p{id_}", title, "pushed to", id_, state, push.run_id)

    def _baseline(self, model: Artifact, verdict: facts.Verdict | None, event: Event) -> None:
        id_ = f"b{model.id}"
        drawn = self.nodes.get(id_)
        name = verdict.baseline if verdict and verdict.baseline_model_id == model.id else None
        number = verdict.baseline_value if verdict else None
        headline = None if number is None or not verdict else f"{verdict.headline} {share(number)}"
        if drawn is None or len(drawn.details) == 1:  # another evaluation may have said more
            self.nodes[id_] = Node(
                id=id_,
                kind="artifact",
                title=name if name and name != model.uri else f"Model {model.id}",
                details=brief_lines("baseline", headline),
                aside=True,
                record=model.id,
            )
        self._join(id_, f"x{event.execution_id}", event.key, aside=True)
