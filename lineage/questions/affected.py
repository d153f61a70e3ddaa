"""`lineage affected`: every model, and every pushed version, that was built on some data.

Facts are read last, and only of what is told: a dataset may have been used by every run
of a store.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from common.errors import CannotTellError, NotFoundError
from common.record.artifacts import Examples, Pushed
from common.record.kinds import EXAMPLES, RUN, SCHEMA, TRANSFORM_GRAPH
from common.record.record import name_of, names_of, value_of
from common.record.steps import Step, Verdict
from lineage.graph import facts
from lineage.graph.built import Built, weights_of, without_data
from lineage.graph.measured import NAMES, Measured, metrics
from lineage.graph.producers import ancestry, runs_of
from lineage.graph.refs import find_artifact, model_of, outputs_of_run
from lineage.questions.model import lineage_of
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Value

_STARTS = frozenset({EXAMPLES, SCHEMA, TRANSFORM_GRAPH})


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedData:
    """What the models below were built on."""

    artifact_id: int
    type: str
    """Examples; Schema or TransformGraph where one was asked for; IngestionReport where
    an image was found in the report of a dataset that is not in the store."""
    uri: str
    facts: facts.DataFacts | None
    """Of Examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedModel(Measured):
    """A model that was built on the data."""

    artifact_id: int
    uri: str
    state: str
    """LIVE, DELETED …"""
    run_id: str | None
    when: str
    """It was made; ISO 8601, UTC."""
    framework: str | None
    architecture: str | None
    blessed: bool | None
    pushed: tuple[str, ...]
    """name@version of its pushes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedVersion(Measured):
    """A push of such a model."""

    name: str | None
    version: int | str | None
    serving: facts.ServingState | None
    """latest: the newest version in the folder; kept: still there beside a newer one;
    removed; None: not known, since the folder is not recorded or not seen from here."""
    destination: str | None
    model_id: int
    run_id: str | None
    when: str
    """It was pushed; ISO 8601, UTC."""
    framework: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """What was built on some data."""

    data: tuple[AffectedData, ...]
    models: tuple[AffectedModel, ...]
    """The newest first, as many as were asked for."""
    model_count: int
    """All of them."""
    versions: tuple[AffectedVersion, ...]
    """Everything that is in its serving folder, and as many more as were asked for: the
    latest first, then what is kept, then what was removed; each the newest first."""
    version_count: int
    """All of them."""
    unknown_models: tuple[int, ...]
    """Models of the store of which it is not recorded what they were made from; looked
    for where nothing else was found, and always where images are asked about."""
    foreign_weights: dict[int, str]
    """Models that began with weights of which it is not known what they were trained on:
    the path by model."""

    @property
    def cannot_tell(self) -> bool:
        """Whether nothing was found, and something may be there all the same."""
        return not self.model_count and bool(self.unknown_models)


def affected_by(reader: Reader, ref: str, limit: int | None = None) -> Affected:
    """What was built on the data that `ref` means.

    Args:
      ref: Examples, a Schema or a TransformGraph (id or URI), a dataset's digest; or a
        run, model or pushed version: the data that it was made from.
      limit: models, and versions that are no longer served, to tell of; None: all.

    Raises:
      NotFoundError: there is nothing of that name, or no data belongs to it.
    """
    return _affected(reader, limit, _starts(reader, ref))


def affected_by_span(
    reader: Reader, span: int, version: int | None = None, limit: int | None = None
) -> Affected:
    """What was built on the data of a span.

    Raises:
      NotFoundError: no dataset of that span was ingested.
    """
    wanted: dict[str, Value] = {name_of(Examples.span): span}
    if version is not None:
        wanted[name_of(Examples.version)] = version
    datasets = reader.artifacts_by_type(EXAMPLES, wanted)
    if not datasets:  # other versions of TFX record it as text, or among the type's properties
        same = [a for a in reader.artifacts_by_type(EXAMPLES) if _is_of(a, span, version)]
        datasets = _raw(reader, same, f"span {span}") if same else []
    if not datasets:
        of = f"span {span}" + ("" if version is None else f", version {version}")
        raise NotFoundError(f"No dataset of {of} is recorded in {reader.where}.")
    return _affected(reader, limit, datasets)


def _is_of(examples: Artifact, span: int, version: int | None) -> bool:
    recorded = Examples.read(examples)
    return recorded.span == span and version in (None, recorded.version)


def _starts(reader: Reader, ref: str) -> list[Artifact]:
    if re.fullmatch("[0-9a-f]{64}", ref):
        if datasets := reader.artifacts_by_type(EXAMPLES, {name_of(Examples.dataset_digest): ref}):
            return datasets
        datasets = [
            a
            for a in reader.artifacts_by_type(EXAMPLES)
            if value_of(a, Examples.dataset_digest) is None
        ]
        if unsaid := _raw(reader, datasets, ref, required=False):
            raise CannotTellError(
                f"No dataset has recorded the digest {ref}, and {len(unsaid)} of them record "
                f"none, such as {unsaid[0].uri}; name those by artifact id or URI."
            )
        raise NotFoundError(
            f"No dataset has the digest {ref}. To look for an image by its content, use --sha256."
        )
    artifact = find_artifact(reader, ref)
    if artifact is None:
        run = reader.context(RUN, ref)
        if run is None:
            raise NotFoundError(
                f"Nothing is known as {ref!r} in {reader.where}. Expected a dataset's artifact "
                "id, URI or digest, a served path, NAME@VERSION or a run's name."
            )
        return _raw(reader, outputs_of_run(reader, run), ref)
    if artifact.type in _STARTS:
        return [artifact]
    if (model := model_of(reader, artifact)) is not None:
        ids = [d.artifact_id for d in lineage_of(reader, model).data]
        if not ids:
            raise NotFoundError(f"From which data {ref} was made is not recorded.")
        return list(reader.artifacts(ids).values())
    # Made with the data (its report), or from it (its statistics).
    made = reader.made_by(reader.producers([artifact.id]).values())
    beside = reader.artifacts([m.artifact_id for m in made]).values()
    above = ancestry(reader, [artifact.id]).artifacts.values()
    return _raw(reader, {a.id: a for a in (*beside, *above)}.values(), ref)


def _raw(
    reader: Reader, artifacts: Collection[Artifact], ref: str, *, required: bool = True
) -> list[Artifact]:
    """Those that are data as it was ingested, and not transformed."""
    examples = [a for a in artifacts if a.type == EXAMPLES]
    makers = reader.producers([a.id for a in examples])
    derived = {e.execution_id for e in reader.events(makers.values()) if e.kind == "input"}
    raw = [a for a in examples if makers.get(a.id) not in derived]
    if not raw and required:
        raise NotFoundError(f"No data is recorded with {ref}.")
    return raw


def _affected(reader: Reader, limit: int | None, data: Collection[Artifact]) -> Affected:
    weights = weights_of(reader)
    built = Built.on(reader, [a.id for a in data], weights)
    built_on = facts_of(reader, built, set(built.trainers), limit)
    return replace(
        built_on,
        data=data_facts_of(reader, data),
        unknown_models=() if built_on.model_count else without_data(reader),
        foreign_weights=dict(weights.foreign),
    )


def facts_of(reader: Reader, built: Built, ids: Collection[int], limit: int | None) -> Affected:
    """The facts of models and their pushes, and none of the data.

    Args:
      ids: of the models, which are among what was built.
    """
    pushes = [p for p in _pushes(reader, built) if p.model_id in ids]
    in_serving = [p for p in pushes if p.serving in ("latest", "kept")]
    shown = sorted({*in_serving, *pushes[:limit]}, key=lambda p: (_ORDER[p.serving], -p.id))
    newest = sorted(ids, reverse=True)[:limit]
    models = _models(reader, built, {*newest, *(p.model_id for p in shown)}, pushes)
    return Affected(
        data=(),
        models=tuple(models[i] for i in newest if i in models),
        model_count=len(ids),
        versions=_versions(reader, built, shown, models),
        version_count=len(pushes),
        unknown_models=(),
        foreign_weights={},
    )


def data_facts_of(reader: Reader, data: Collection[Artifact]) -> tuple[AffectedData, ...]:
    """The facts of datasets, in the order of their ids."""
    makers = reader.producers([a.id for a in data])
    executions = reader.executions(set(makers.values()))
    return tuple(
        AffectedData(
            artifact_id=a.id,
            type=a.type,
            uri=a.uri,
            facts=facts.data_facts(a, executions.get(makers.get(a.id, 0)))
            if a.type == EXAMPLES
            else None,
        )
        for a in sorted(data, key=lambda a: a.id)
    )


@dataclass(frozen=True, slots=True)
class _Push:
    id: int
    model_id: int
    name: str | None
    version: int | None
    destination: str | None
    serving: facts.ServingState | None

    @property
    def shown(self) -> str:
        return f"{self.name}@{self.version}" if self.name else str(self.destination)


_ORDER: Mapping[facts.ServingState | None, int] = {"latest": 0, "kept": 1, "removed": 2, None: 3}


def _pushes(reader: Reader, built: Built) -> list[_Push]:
    """The newest first."""
    values = reader.values("Artifact", built.pushes, names_of(Pushed))
    # TFX's own Pusher makes the artifact, and says in it that it pushed nothing.
    records = {i: r for i, v in values.items() if (r := Pushed.read(v)).pushed}
    serving = facts.serving_states(
        {r.pushed_destination for r in records.values() if r.pushed_destination}
    )
    return [
        _Push(
            id=id_,
            model_id=built.pushes[id_][0],
            name=record.model_name,
            version=record.pushed_version,
            destination=record.pushed_destination,
            serving=serving.get(record.pushed_destination or ""),
        )
        for id_, record in sorted(records.items(), reverse=True)
    ]


def _models(
    reader: Reader, built: Built, ids: Collection[int], pushes: Collection[_Push]
) -> dict[int, AffectedModel]:
    runs = _run_ids(reader, {built.trainers[i] for i in ids})
    judged = {built.evaluations[i] for i in ids if i in built.evaluations}
    verdicts = reader.values("Execution", judged, (*NAMES, name_of(Verdict.blessed)))
    pushed: dict[int, list[str]] = {}
    for push in pushes:
        pushed.setdefault(push.model_id, []).insert(0, push.shown)
    models = {}
    for model in reader.artifacts(ids).values():
        named = facts.model_facts(model)
        verdict = Verdict.read(verdicts.get(built.evaluations.get(model.id, 0), {}))
        models[model.id] = AffectedModel(
            artifact_id=model.id,
            uri=model.uri,
            state=model.state,
            run_id=runs.get(built.trainers[model.id]),
            when=named.created,
            framework=named.framework,
            architecture=named.architecture,
            metrics=metrics(verdict),
            blessed=verdict.blessed,
            pushed=tuple(pushed.get(model.id, ())),
        )
    return models


def _versions(
    reader: Reader, built: Built, pushes: Collection[_Push], models: Mapping[int, AffectedModel]
) -> tuple[AffectedVersion, ...]:
    artifacts = reader.artifacts([p.id for p in pushes])
    runs = _run_ids(reader, {built.pushes[p.id][1] for p in pushes})
    return tuple(
        AffectedVersion(
            name=p.name,
            version=p.version,
            serving=p.serving,
            destination=p.destination,
            model_id=p.model_id,
            run_id=runs.get(built.pushes[p.id][1]),
            when=facts.when(artifacts[p.id].created),
            framework=models[p.model_id].framework,
            metrics=models[p.model_id].metrics,
        )
        for p in pushes
    )


def _run_ids(reader: Reader, execution_ids: Collection[int]) -> dict[int, str]:
    """The name of the run of each execution, by execution id."""
    recorded = reader.values("Execution", execution_ids, names_of(Step.run_id))
    names = {i: run for i, values in recorded.items() if (run := value_of(values, Step.run_id))}
    missing = reader.executions(set(execution_ids) - names.keys())
    runs = runs_of(reader, list(missing.values())) if missing else {}
    return names | {i: run.name for i, run in runs.items() if run.name}
