"""`visionline erase`: what can be done about images that were withdrawn.

Datasets and arrays that hold them are removed whole: their records are digested, and
rewritten ones would be no dataset that a model was made from.  Models stay, marked as
trained on what was withdrawn.  What cannot be done from here is said: the source, which
is the user's; copies on other machines; what the weights have learned.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import RunError
from common.record.kinds import ARRAYS, EXAMPLES, PREDICTIONS
from lineage.images.copies import Copy, served_model
from lineage.images.uses import USES, Use
from lineage.questions.affected_images import AffectedImages, affected_by_images
from lineage.storage.gc import GcItem, GcPlan, Places, Sizes
from lineage.storage.marking import record_erasure
from lineage.storage.removal import Failure, Progress, remove_files, set_states, trash_of
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.reader import Reader
from lineage.store.records import DELETED, Artifact
from lineage.store.workspace import TRAINING, Workspace
from modelstore.artifact import PICTURES
from modelstore.rollback import choices
from modelstore.versions import list_versions

_HOLDING = (EXAMPLES, ARRAYS, PREDICTIONS)
_COPIES = ("cache/shards", f"artifacts/*/*/*/{PICTURES}", f"runs/*/{TRAINING}/{PICTURES}")
"""Folders that no artifact stands for: arrays of former versions, and the images that trainings
show in TensorBoard, of which nobody knows which they are."""
"""In the cache: arrays of before they were artifacts, which nothing reads any more."""
_IN_WEIGHTS: tuple[Use, ...] = ("trained", "selected", "unknown")
_RUNNING = ("NEW", "RUNNING")
_REMAINS: Mapping[str, str] = {
    "source": "it is yours: delete it there, or the next run ingests it again",
    "golden": "train and push again, then remove the older versions with "
    "`visionline versions --prune`",
    "report": "kept: it says which dataset held what",
    **dict.fromkeys(
        ("examples", "transformed", "arrays"),
        "outside the output folder, or of another one: erase it there",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """A place that holds an image, or may hold it, when all is done."""

    copy: Copy
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A model that used a withdrawn image."""

    model_id: int
    use: Use
    """The strongest, of all the images."""
    served: tuple[str, ...]
    """Paths of versions in serving that hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A name whose latest version used a withdrawn image, and what could serve instead."""

    folder: str
    """`<serving>/<name>`."""
    version: int
    use: Use
    roll_back_to: int | None
    """The newest version that a rollback takes and that did not use one; None: train anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasePlan:
    sha256: tuple[str, ...]
    found: int
    """Of the images: how many are in a dataset."""
    unsearched: int
    """Datasets that may hold them all the same; see `lineage affected`."""
    remove: tuple[GcItem, ...]
    """Datasets, what was made of them (transformed ones and arrays), and predictions of them."""
    bytes: int
    """On the disk, of all that is removed."""
    models: tuple[Withdrawn, ...]
    served: tuple[Served, ...]
    remains: tuple[Remains, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure did."""

    plan: ErasePlan
    removed: int
    """Datasets and arrays whose files are gone now."""
    failures: tuple[Failure, ...]
    recorded: str | None
    """The erasure's name in the metadata store; None: there was nothing to record."""
    state: Literal["done", "unfinished"]


def plan(reader: Reader, workspace: Workspace, asked: Mapping[str, str | None]) -> ErasePlan:
    """Says what would be done about images, as of `affected_by_images`; removes nothing.

    Raises:
      RunError: a run, also of another folder, is using what holds the images.
    """
    affected = affected_by_images(reader, asked)
    holding = _holding(reader, affected)
    places = Places(os.path.realpath(workspace.artifacts))
    inside = {a.id: p for a in holding if (p := places.inside(a.uri)) is not None}
    items = [
        GcItem(
            artifact_id=a.id,
            type=a.type,
            uri=a.uri,
            run_id=None,
            bytes=Sizes().of(inside[a.id]),
            why="withdrawn",
        )
        for a in holding
        if a.id in inside and (a.state != "DELETED" or os.path.lexists(inside[a.id]))
    ]
    _check_unused(reader, [i.artifact_id for i in items])
    models = _models(reader, affected)
    gone = {i.artifact_id for i in items}
    remains = [
        Remains(copy=c, remedy=_REMAINS[c.kind])
        for c in affected.copies
        if c.artifact_id not in gone
    ]
    return ErasePlan(
        sha256=tuple(asked),
        found=sum(i.state == "found" for i in affected.images),
        unsearched=len(affected.unsearched),
        remove=tuple(items),
        bytes=sum(i.bytes for i in items),
        models=models,
        served=_served(reader, affected, models),
        remains=tuple(remains),
    )


def erase(
    workspace: Workspace,
    connection: Connection,
    asked: Mapping[str, str | None],
    reason: str,
    progress: Progress,
) -> Erased:
    """Does what can be done, while no run uses the folder; killed, it is done again.

    First it is recorded, then the datasets are marked as DELETED, then files go: from
    the first step on no step of a run is taken from the cache that holds an image.

    Raises:
      RunError: a run uses the folder, or what holds the images.
      StoreError: the store cannot be read or written; nothing was removed.
    """
    with workspace.lock():
        with closing(open_reader(connection)) as reader:
            planned = plan(reader, workspace, asked)
        ids = [i.artifact_id for i in planned.remove]
        name = None
        if planned.found:
            uses = {m.model_id: m.use for m in planned.models}
            name = record_erasure(connection, planned.sha256, uses, ids, reason)
        if ids:
            set_states(connection, dict.fromkeys(ids, DELETED))
        root = str(workspace.artifacts)
        work = GcPlan(root=root, remove=planned.remove, bytes=planned.bytes, kept={}, trash=0)
        done = remove_files(work, trash_of(workspace), progress)
        copies = _remove_copies(workspace) if planned.found else []
        failures = [*done.failures, *copies]
    return Erased(
        plan=planned,
        removed=done.removed,
        failures=tuple(failures),
        recorded=name,
        state="unfinished" if failures else "done",
    )


def _holding(reader: Reader, affected: AffectedImages) -> list[Artifact]:
    """Returns examples in which an image was found, and what holds them too; removed or not.

    Predictions of them are among it: they have the paths and digests of images.

    Others at the same place hold it as well, such as one that was imported.
    """
    holding = {d.artifact_id for d in affected.data if d.type == EXAMPLES}
    examples = {a.id: a for type_ in _HOLDING for a in reader.artifacts_by_type(type_)}
    makers = reader.producers(examples)
    inputs: dict[int, set[int]] = {}
    for event in reader.events(set(makers.values())):
        if event.kind == "input" and event.artifact_id in examples:
            inputs.setdefault(event.execution_id, set()).add(event.artifact_id)
    for id_ in sorted(examples):  # what they were made of came before them
        if inputs.get(makers.get(id_, 0), set()) & holding:
            holding.add(id_)
    uris = {examples[i].uri for i in holding}
    return [a for _, a in sorted(examples.items()) if a.id in holding or a.uri in uris]


def _check_unused(reader: Reader, ids: Collection[int]) -> None:
    running = [e for e, state in reader.execution_states().items() if state in _RUNNING]
    used = {e.artifact_id for e in reader.events(running)} & set(ids)
    if used:
        raise RunError(
            f"A run is using artifact {min(used)}, which holds an image that is to be erased. "
            "Stop the run or wait for it, then run the same command again."
        )


def _remove_copies(workspace: Workspace) -> list[Failure]:
    errors: list[OSError] = []
    for folder in (f for pattern in _COPIES for f in workspace.root.glob(pattern)):
        shutil.rmtree(folder, onerror=lambda _, __, info: errors.append(info[1]))  # type: ignore[arg-type]
    return [Failure(path=str(e.filename), reason=e.strerror or str(e)) for e in errors]


def _models(reader: Reader, affected: AffectedImages) -> tuple[Withdrawn, ...]:
    uses: dict[int, set[Use]] = {}
    for image in affected.images:
        for use in image.uses:
            uses.setdefault(use.model_id, set()).add(use.use)
    uris = {a.id: a.uri for a in reader.artifacts(uses).values()}
    served: dict[str, list[str]] = {}
    for folder in _folders(affected):
        for version in list_versions(Path(folder)):
            if (uri := served_model(reader, Path(folder) / str(version))) is not None:
                served.setdefault(uri, []).append(f"{folder}/{version}")
    return tuple(
        Withdrawn(
            model_id=model_id,
            use=next(u for u in USES if u in of_model),
            served=tuple(served.get(uris.get(model_id, ""), ())),
        )
        for model_id, of_model in sorted(uses.items(), reverse=True)
    )


def _served(
    reader: Reader, affected: AffectedImages, models: Iterable[Withdrawn]
) -> tuple[Served, ...]:
    """Returns names whose latest version was trained on, or selected by, an image."""
    uses = {m.model_id: m.use for m in models}
    by_uri = {a.uri: uses[a.id] for a in reader.artifacts(uses).values()}
    bad = {uri: use for uri, use in by_uri.items() if use in _IN_WEIGHTS}
    served = []
    for folder in _folders(affected):
        versions = list_versions(Path(folder))
        latest = served_model(reader, Path(folder) / str(versions[-1])) if versions else None
        if latest is None or latest not in bad:
            continue
        others = (
            c.version
            for c in choices(Path(folder))
            if not c.why_refused and served_model(reader, Path(folder) / str(c.version)) not in bad
        )
        newest, other = versions[-1], next(others, None)
        served.append(Served(folder=folder, version=newest, use=bad[latest], roll_back_to=other))
    return tuple(served)


def _folders(affected: AffectedImages) -> list[str]:
    places = {v.destination.rpartition("/")[0] for v in affected.versions if v.destination}
    return sorted(p for p in places if "://" not in p)
