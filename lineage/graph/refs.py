"""What people call things: served paths, name@version, URIs, ids, run names."""

from __future__ import annotations

from pathlib import Path

from common.errors import DataError, NotFoundError
from common.record.artifacts import Blessing, Pushed
from common.record.kinds import MODEL, RUN
from common.record.record import value_of
from lineage.graph.producers import runs_of
from lineage.graph.pushed import (
    PushRef,
    known_pushes,
    latest,
    names_known,
    pushes,
    pushes_of_version,
    spellings,
)
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context
from modelstore.artifact import MANIFEST, PushManifest
from modelstore.versions import list_versions


def find_model(reader: Reader, ref: str) -> Artifact:
    """The model that `ref` means: itself, or what was pushed, judged or trained there.

    Raises:
      NotFoundError: nothing of that name, or no model belongs to it.
    """
    artifact = find_artifact(reader, ref)
    if artifact is not None:
        model = model_of(reader, artifact)
        if model is None:
            raise NotFoundError(
                f"{ref} is the artifact {artifact.id} of type {artifact.type}; "
                "no model belongs to it."
            )
        return model
    run = reader.context(RUN, ref)
    if run is None:
        raise _not_found(reader, ref)
    models = [a for a in outputs_of_run(reader, run) if a.type == MODEL]
    if not models:
        raise NotFoundError(f"The run {ref} has made no model.")
    return models[-1]


def find_run(reader: Reader, ref: str) -> Context:
    """The run that `ref` names, or the one that made the artifact it means."""
    run = reader.context(RUN, ref)
    if run is not None:
        return run
    artifact = find_artifact(reader, ref)
    if artifact is None:
        raise _not_found(reader, ref)
    makers = reader.producers([artifact.id])
    runs = runs_of(reader, list(reader.executions(makers.values()).values()))
    if not runs:
        raise NotFoundError(f"Which run made {ref} is not recorded.")
    return next(iter(runs.values()))


def find_artifact(reader: Reader, ref: str) -> Artifact | None:
    """The artifact that `ref` means; None where it may be a run's name."""
    if ref.isdecimal():
        return reader.artifacts([int(ref)]).get(int(ref))
    name, at, version = ref.rpartition("@")
    if at and "/" not in ref:
        return find_pushed(reader, name, version)
    try:
        artifact = _by_path(reader, ref)
    except OSError as e:
        raise NotFoundError(f"{ref} cannot be looked at: {e.strerror}.") from None
    if artifact is None and "/" not in ref and reader.context(RUN, ref) is None:
        pushed = pushes(reader, ref)
        artifact = _artifact(reader, latest(pushed)) if pushed else None
    return artifact


def find_pushed(reader: Reader, name: str, version: str) -> Artifact:
    """The push of `name@version`; the version may be "latest".

    Raises:
      NotFoundError: there is none, or more than one model of that name and version.
    """
    if version in ("", "latest"):
        return _artifact(reader, latest(known_pushes(reader, name)))
    meant = pushes_of_version(reader, name, version)
    if not meant:
        versions = ", ".join(
            dict.fromkeys(str(p.version) for p in known_pushes(reader, name)[-10:])
        )
        raise NotFoundError(f"{name} has no version {version!r}. Known: {versions}.")
    folders = sorted({p.folder for p in meant})
    if len(folders) > 1 and len({p.model_id for p in meant}) > 1:
        raise NotFoundError(
            f"{name}@{version} was pushed to more than one folder: {', '.join(folders)}. "
            f"Name one by its path, such as {meant[-1].destination}."
        )
    return _artifact(reader, meant[-1])


def pushed_versions(reader: Reader, name: str) -> list[Artifact]:
    """Every successful push under a name, in order of version and time."""
    refs = sorted(pushes(reader, name), key=lambda p: p.order)
    artifacts = reader.artifacts([p.artifact_id for p in refs])
    return [artifacts[p.artifact_id] for p in refs]


def _artifact(reader: Reader, pushed: PushRef) -> Artifact:
    return reader.artifacts([pushed.artifact_id])[pushed.artifact_id]


def model_of(reader: Reader, artifact: Artifact) -> Artifact | None:
    """The model that an artifact is, was pushed from, judges or describes."""
    if artifact.type == MODEL:
        return artifact
    for field in (Pushed.model_id, Blessing.current_model_id):
        id_ = value_of(artifact, field)
        model = reader.artifacts([id_]).get(id_) if id_ is not None else None
        if model is not None and model.type == MODEL:
            return model
    events = reader.events(reader.producers([artifact.id]).values())
    ids = [e.artifact_id for e in events if e.kind == "output" or e.key == "model"]
    models = [a for a in reader.artifacts(ids).values() if a.type == MODEL]
    return min(models, key=lambda a: a.id) if models else None


def outputs_of_run(reader: Reader, run: Context) -> list[Artifact]:
    """What a run made or took from the cache, in the order of ids."""
    executions = reader.executions_in([run.id]).get(run.id, [])
    ids = [e.artifact_id for e in reader.events(executions) if e.kind == "output"]
    return sorted(reader.artifacts(ids).values(), key=lambda a: a.id)


def _by_path(reader: Reader, ref: str) -> Artifact | None:
    """By served path (of a version, or of a model: its latest), or by artifact URI."""
    path = Path(ref)
    if (versions := list_versions(path)) and not (path / MANIFEST).exists():
        path = path / str(versions[-1])
    if (path / MANIFEST).exists():
        try:
            manifest = PushManifest.read(path)
        except DataError:
            manifest = None
        if manifest is not None:
            if artifacts := reader.artifacts_by_uri(manifest.model_uri):
                return artifacts[-1]
            raise NotFoundError(
                f"{ref} is {manifest.name}@{manifest.version} of the run {manifest.run_id}, "
                f"whose model ({manifest.model_uri}) is not in {reader.where}."
            )
    candidates = sorted(spellings(ref))
    if path.exists():  # it may be a file inside an artifact
        for place in (path.absolute(), path.resolve()):
            candidates += [str(p) for p in place.parents][:3]
    for uri in candidates:
        if artifacts := reader.artifacts_by_uri(uri):
            return artifacts[-1]
    if "/" in ref:
        places = spellings(ref)
        pushed = [p for p in pushes(reader) if p.destination in places] or pushes(reader, ref)
        return _artifact(reader, latest(pushed)) if pushed else None
    return None


def _not_found(reader: Reader, ref: str) -> NotFoundError:
    return NotFoundError(
        f"Nothing is known as {ref!r} in {reader.where}. Expected a served path, NAME@VERSION, "
        f"an artifact's URI or id, or a run's name.{names_known(reader, ref)}"
    )
