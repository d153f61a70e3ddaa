"""`lineage verify`: whether the files are there, and what they were.

Compares the files behind the records with the digests that the run which made them
recorded, and each served version with its manifest and its record.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from common.errors import DataError, NotFoundError, nearest
from common.files import tree_digest
from common.record.artifacts import Pushed
from common.record.kinds import PUSHED_MODEL
from common.record.record import value_of
from common.record.steps import Step
from lineage.graph.marks import erasures
from lineage.graph.producers import ancestry
from lineage.graph.refs import model_of, pushed_versions
from lineage.store.places import local_path
from lineage.store.reader import Reader
from lineage.store.records import Artifact
from modelstore.artifact import PushManifest
from modelstore.versions import damage, leftovers, list_versions

ArtifactKind = Literal["missing", "changed", "unreadable", "not-removed"]
ServedKind = Literal["damaged", "unreadable", "unrecorded", "mismatched", "leftover"]
Progress = Callable[[str, int, int], None]
"""Told what is looked at, and how many of how many are done."""
_BATCH = 1000
_LEFTOVER = "left by a push that was killed; the next push removes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it was recorded."""

    kind: ArtifactKind | ServedKind
    """missing: the files of a LIVE artifact are not there; changed: they are not what
    was made; unreadable; not-removed: a DELETED artifact's files are still there.
    Of served versions: damaged: not as in the manifest; unrecorded: no push of it is
    in the store; mismatched: another model than the recorded push's; leftover: of a
    push that was killed, removed by the next one."""
    artifact_id: int | None
    """None for problems of served versions."""
    where: str
    """URI of the artifact, or path of the version."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How much was looked at."""

    artifacts: int
    """LIVE ones whose place is on this machine."""
    digests: int
    """Those of them that were compared with a recorded digest; of the others only that
    their files are there."""
    elsewhere: int
    """LIVE artifacts whose place is not on this machine, such as gs://…"""
    versions: int
    """Served ones."""
    erased: int
    """DELETED ones that were removed on purpose, by `visionline erase`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    checked: Checked
    problems: tuple[Problem, ...]


def verify(
    reader: Reader,
    names: Collection[str] = (),
    serving: Collection[Path] = (),
    quick: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Verification:
    """Checks artifacts and served versions.

    Args:
      names: of pushed models; only these and what they were made from, else everything.
      serving: serving folders besides the ones that pushes recorded.
      quick: only whether files are there; nothing is read.

    Raises:
      NotFoundError: nothing was pushed under one of the names.
    """
    pushes = _pushes(reader, names)
    behind = ancestry(reader, [p.id for p in pushes]).artifacts if names else {}
    artifacts = list(behind.values() if names else reader.all_artifacts())
    live = [a for a in artifacts if a.state == "LIVE"]
    places: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in live:
        if (path := local_path(artifact.uri)) is not None:
            places[path].append(artifact)
    digests = {} if quick else _digests(reader, {a.uri for a in live})
    problems: list[Problem] = []
    for number, (path, alike) in enumerate(places.items()):
        progress(path, number, len(places))
        problems += _artifact_problems(path, alike, digests.get(alike[0].uri))
    problems += _not_removed(artifacts, places.keys())
    pushed: dict[tuple[str, str], list[Artifact]] = defaultdict(list)
    for push in pushes:
        recorded = Pushed.read(push)
        pushed[str(recorded.model_name), str(recorded.pushed_version)].append(push)
    versions = 0
    for folder in _folders(pushes, names, serving):
        for version in map(str, list_versions(folder)):
            versions += 1
            progress(str(folder / version), len(places), len(places))
            of_version = pushed.get((folder.name, version))
            problems += _version_problems(reader, folder / version, of_version, quick)
        problems += [_served("leftover", p, _LEFTOVER) for p in leftovers(folder)]
    here = [a for alike in places.values() for a in alike]
    removed = {a for e in erasures(reader) for a in e.removed}
    return Verification(
        checked=Checked(
            artifacts=len(here),
            digests=sum(a.uri in digests for a in here),
            elsewhere=len(live) - len(here),
            versions=versions,
            erased=sum(a.state == "DELETED" and a.id in removed for a in artifacts),
        ),
        problems=tuple(problems),
    )


def _pushes(reader: Reader, names: Collection[str]) -> list[Artifact]:
    if not names:
        return [a for a in reader.artifacts_by_type(PUSHED_MODEL) if value_of(a, Pushed.pushed)]
    pushes = {name: pushed_versions(reader, name) for name in names}
    for name in names:
        if not pushes[name]:
            all_pushes = reader.artifacts_by_type(PUSHED_MODEL)
            others = {str(value_of(a, Pushed.model_name)) for a in all_pushes}
            raise NotFoundError(
                f"No model was pushed under the name {name!r}.{nearest(name, others)}"
            )
    return [a for pushed in pushes.values() for a in pushed]


def _digests(reader: Reader, uris: Collection[str]) -> dict[str, str]:
    """Returns recorded digests by URI."""
    states = reader.execution_states()
    worked = iter(sorted(e for e, state in states.items() if state == "COMPLETE"))
    digests: dict[str, str] = {}
    while batch := list(islice(worked, _BATCH)):
        for _, execution in sorted(reader.executions(batch).items()):
            recorded = value_of(execution, Step.output_digests) or {}
            digests.update({u: d for u, d in recorded.items() if u in uris})
    return digests


def _artifact_problems(path: str, artifacts: list[Artifact], digest: str | None) -> list[Problem]:
    """Checks all artifacts at one place, which is read once."""
    kind: ArtifactKind
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        if digest is None:
            return []
        if not is_folder:
            kind, detail = "changed", "is a file; a folder was made"
        elif (strange := _strange_file(path)) is not None:
            kind, detail = "changed", f"{strange} is neither a file nor a folder"
        elif tree_digest(Path(path)) == digest:
            return []
        else:
            kind, detail = "changed", "its files are not those that were made"
    except FileNotFoundError as e:
        if os.path.exists(path):
            kind, detail = "changed", f"{e.filename} leads nowhere"
        else:
            kind, detail = "missing", "its files are not there"
    except NotADirectoryError as e:
        kind, detail = "missing", f"{e.filename or path}: a file is where a folder was"
    except OSError as e:
        kind, detail = "unreadable", f"{e.filename or path}: {e.strerror}"
    return [Problem(kind=kind, artifact_id=a.id, where=a.uri, detail=detail) for a in artifacts]


def _strange_file(path: str) -> str | None:
    """Returns a pipe or device, which would be waited for endlessly when read."""
    for folder, _, names in os.walk(path, onerror=_raise):
        for name in names:
            place = os.path.join(folder, name)
            if not stat.S_ISREG(os.stat(place).st_mode):
                return os.path.relpath(place, path)
    return None


def _raise(error: OSError) -> None:
    raise error


def _not_removed(artifacts: Collection[Artifact], live: Collection[str]) -> Iterator[Problem]:
    for artifact in artifacts:
        path = local_path(artifact.uri)
        if artifact.state == "DELETED" and path and path not in live and os.path.lexists(path):
            yield Problem(
                kind="not-removed",
                artifact_id=artifact.id,
                where=artifact.uri,
                detail="is marked as deleted; `lineage gc` removes what nothing needs, and the "
                "same `visionline erase` again what it was stopped at",
            )


def _folders(
    pushes: Collection[Artifact], names: Collection[str], serving: Collection[Path]
) -> list[Path]:
    """Returns the folders of pushed models, by their real paths."""
    folders = set()
    for push in pushes:
        recorded = Pushed.read(push)
        # TFX's own Pusher records no name and writes no manifest.
        if recorded.model_name and recorded.pushed_destination:
            folders.add(os.path.realpath(os.path.dirname(recorded.pushed_destination)))
    for folder in serving:
        for model in folder.iterdir() if folder.is_dir() else ():
            if not names or model.name in names:
                folders.add(os.path.realpath(model))
    return [Path(p) for p in sorted(folders)]


def _version_problems(
    reader: Reader, path: Path, pushes: list[Artifact] | None, quick: bool
) -> Iterator[Problem]:
    if pushes is None:
        yield _served("unrecorded", path, "no push of this version is in the store")
    uris = {m.uri for p in pushes or () if (m := model_of(reader, p)) is not None}
    try:
        manifest = PushManifest.read(path)
        if uris and reader.places.here(manifest.model_uri) not in uris:
            detail = f"holds the model {manifest.model_uri}; recorded is {', '.join(sorted(uris))}"
            yield _served("mismatched", path, detail)
        if quick:
            lost = [f for f in sorted(manifest.checksums) if not (path / f).exists()]
            details = [f"{f}: missing" for f in lost]
        else:
            details = damage(path)
    except DataError as e:
        details = [str(e)]
    except OSError as e:
        yield _served("unreadable", path, f"{e.filename or path}: {e.strerror}")
        return
    for detail in details:
        yield _served("damaged", path, detail)


def _served(kind: ServedKind, path: Path, detail: str) -> Problem:
    return Problem(kind=kind, artifact_id=None, where=str(path), detail=detail)
