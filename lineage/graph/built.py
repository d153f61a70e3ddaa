"""What was built on some data: models, their evaluations and their pushes, as ids.

Ids first and facts last: a dataset may have been used by every run of a store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.record.artifacts import Model
from common.record.kinds import (
    ANOMALIES,
    BLESSING,
    EVALUATION,
    INFRA_BLESSING,
    MODEL,
    MODEL_RUN,
    PREDICTIONS,
    PUSHED_MODEL,
)
from common.record.record import names_of, value_of
from common.record.run import Run
from common.record.steps import Parameters, Training
from lineage.graph.producers import BASELINE, runs_of
from lineage.graph.pushed import pushes
from lineage.store.reader import Reader

VERDICTS = frozenset({EVALUATION, BLESSING})
_SETTINGS = names_of(Training.hyper_parameters, Parameters.config)
_FRESH, _ALONE = '"pretrained": null', '"model": null'
"""What most settings have: no weights to begin with, no teacher."""
_ENDS = VERDICTS | {PREDICTIONS, PUSHED_MODEL, INFRA_BLESSING, MODEL_RUN, ANOMALIES}
"""Made from data, and never what a model is built on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Which models others began with the weights of, or were distilled from.

    `train.pretrained` and `train.distillation.model` are paths, and no inputs that ML Metadata
    knows of.
    """

    derived: Mapping[int, Collection[int]]
    """Models by the model of this store whose weights they began with, or that taught them."""
    foreign: Mapping[int, str]
    """The path by model, where it is not that of a model that this store knows; one of two."""


@dataclass(slots=True)
class Built:
    """Ids of what was built on some data."""

    trainers: dict[int, int] = field(default_factory=dict)
    """The execution that made a model, by the model's id."""
    evaluations: dict[int, int] = field(default_factory=dict)
    """A model's last evaluation."""
    pushes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Model and execution by the id of the PushedModel."""
    inputs: dict[int, set[int]] = field(default_factory=dict)
    """What each execution took of the data, and of what was built on it."""
    made: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    """Id and type of each execution's outputs."""
    _seen: set[int] = field(default_factory=set)

    @classmethod
    def on(
        cls, reader: Reader, artifact_ids: Collection[int], weights: Weights | None = None
    ) -> Built:
        built = cls()
        built.follow(reader, artifact_ids, weights)
        return built

    def follow(
        self, reader: Reader, artifact_ids: Collection[int], weights: Weights | None = None
    ) -> None:
        """Adds what was built on more."""
        frontier = set(artifact_ids) - self._seen
        while frontier:
            self._seen |= frontier
            taken = reader.takers(frontier, BASELINE)
            new = {t.execution_id for t in taken} - self.made.keys()
            for artifact_id, execution_id in taken:
                self.inputs.setdefault(execution_id, set()).add(artifact_id)
            frontier = self._begun(reader, frontier, weights)
            self.made.update({execution_id: [] for execution_id in new})
            for execution_id, artifact_id, type_ in reader.made_by(new):
                self.made[execution_id].append((artifact_id, type_))
                if type_ == MODEL:
                    self.trainers.setdefault(artifact_id, execution_id)
                if type_ not in _ENDS:
                    frontier.add(artifact_id)
            for model_id, execution_id in taken:
                if model_id in self.trainers:
                    self._used(model_id, execution_id)
            frontier -= self._seen

    def add_models(self, reader: Reader, models: Collection[int]) -> None:
        """Adds models that were not built on it, and what became of them."""
        for model_id, execution_id in reader.producers(models).items():
            self.trainers.setdefault(model_id, execution_id)
        self.follow(reader, models)

    def origins(self, starts: Collection[int]) -> dict[int, set[int]]:
        """Those of `starts` that each artifact was built on, by artifact id."""
        origins = {a: {a} for a in starts}
        for execution_id in sorted(self.inputs):  # what it took was made before it
            of = set[int]().union(*(origins.get(a, ()) for a in self.inputs[execution_id]))
            for artifact_id, _ in self.made.get(execution_id, ()):
                if of and artifact_id not in starts:
                    origins.setdefault(artifact_id, set()).update(of)
        return origins

    def _begun(
        self, reader: Reader, artifacts: Collection[int], weights: Weights | None
    ) -> set[int]:
        """Models that began with the weights of some of these, or were taught by them."""
        links = weights.derived if weights else {}
        begun = {d: base for base in artifacts if base in links for d in links[base]}
        makers = reader.producers(begun)
        for model_id, execution_id in makers.items():
            self.trainers.setdefault(model_id, execution_id)
            self.inputs.setdefault(execution_id, set()).add(begun[model_id])
            self.made.setdefault(execution_id, []).append((model_id, MODEL))
        return set(makers)

    def _used(self, model_id: int, execution_id: int) -> None:
        for artifact_id, type_ in self.made.get(execution_id, ()):
            if type_ in VERDICTS:
                last = self.evaluations.get(model_id, 0)
                self.evaluations[model_id] = max(last, execution_id)
            elif type_ == PUSHED_MODEL:
                self.pushes[artifact_id] = (model_id, execution_id)


def weights_of(reader: Reader) -> Weights:
    """Which models of a store began with which weights, or were taught by which model."""
    ours = reader.artifact_values(MODEL, names_of(Model.framework))
    makers = reader.producers(ours)
    recorded = reader.values("Execution", set(makers.values()), _SETTINGS)
    paths = [(m, path) for m, maker in makers.items() for path in _models(recorded.get(maker))]
    if not paths:
        return Weights(derived={}, foreign={})
    places = {m.uri.rstrip("/"): m.id for m in reader.artifacts_by_type(MODEL)}
    places |= {p.destination: p.model_id for p in pushes(reader) if p.model_id is not None}
    relative = {makers[m] for m, path in paths if not os.path.isabs(path)}
    runs = runs_of(reader, list(reader.executions(relative).values())) if relative else {}
    derived: dict[int, set[int]] = {}
    foreign = {}
    for model_id, path in paths:
        run = runs.get(makers[model_id])
        if not os.path.isabs(path) and run is not None:
            path = os.path.join(value_of(run, Run.directory) or "", path)
        path = reader.places.here(path)
        base = next((places[p] for p in _above(path) if p in places), None)
        if base is None:
            foreign[model_id] = path
        elif base != model_id:
            derived.setdefault(base, set()).add(model_id)
    return Weights(derived=derived, foreign=foreign)


def without_data(reader: Reader) -> tuple[int, ...]:
    """Models of which it is not recorded what they were made from."""
    models = [m.id for m in reader.artifacts_by_type(MODEL)]
    makers = reader.producers(models)
    with_inputs = {e.execution_id for e in reader.events(set(makers.values())) if e.kind == "input"}
    return tuple(sorted(m for m in models if makers.get(m) not in with_inputs))


def _models(recorded: Mapping[str, object] | None) -> Collection[str]:
    """Returns where the models lie that one was built on, by what is recorded of its training."""
    found: dict[str, None] = {}
    for text in map(str, (recorded or {}).values()):
        # Most by far; parsing takes longer than finding out.
        if _FRESH in text and (_ALONE in text or "distillation" not in text):
            continue
        try:
            settings = json.loads(text)
        except ValueError:
            continue
        if isinstance(settings, dict):
            teacher = settings.get("distillation")
            named = teacher.get("model") if isinstance(teacher, dict) else None
            paths = (settings.get("pretrained"), named)
            found |= dict.fromkeys(path for path in paths if isinstance(path, str) and path)
    return found


def _above(path: str) -> Iterable[str]:
    """A path and what is above it, as it is written and as it really is."""
    for place in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):
        yield from map(str, (place, *place.parents))
