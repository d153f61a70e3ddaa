"""`lineage gc --yes`: carries a plan out.

First every artifact is marked as DELETED, so that TFX's cache no longer takes it;
then each directory is moved to a folder beside the others and deleted there.  Killed
at any point, nothing is half there that MLMD calls LIVE, and the next gc finishes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import RunError
from lineage.storage.gc import TRASH, GcItem, GcPlan, abandoned, plan
from lineage.storage.needs import needs
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.places import local_path
from lineage.store.records import DELETED
from lineage.store.setup import open_store
from lineage.store.sql import batches
from lineage.store.workspace import Workspace

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""
_BATCH = 500
"""Artifacts marked in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A directory that could not be deleted; the next gc tries again."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GcResult:
    """What a gc did."""

    plan: GcPlan
    removed: int
    """Artifacts whose files are gone now."""
    freed: int
    """Bytes on the disk."""
    failures: tuple[Failure, ...]


def collect(
    workspace: Workspace, connection: Connection, keep_runs: int, progress: Progress
) -> GcResult:
    """Removes what nothing kept needs, while no run uses the folder.

    Raises:
      RunError: a run uses the folder, or see `mark`.
      StoreError: the store cannot be read or written; nothing was removed.
    """
    with workspace.lock():
        trash = trash_of(workspace)
        with contextlib.closing(open_reader(connection)) as reader:
            work = plan(reader, workspace.artifacts, keep_runs)
        for number, folder in enumerate(abandoned(workspace.checkpoints, keep_runs)):
            trash.mkdir(exist_ok=True)
            folder.rename(trash / f"checkpoints-{number}-{os.getpid()}")
        if work.remove:
            mark(connection, [i.artifact_id for i in work.remove], keep_runs)
        return remove_files(work, trash, progress)


def trash_of(workspace: Workspace) -> Path:
    trash = workspace.artifacts / TRASH
    if trash.is_symlink():
        raise RunError(f"{trash} is a link; expected a folder. Remove the link.")
    return trash


def mark(connection: Connection, ids: Sequence[int], keep_runs: int) -> None:
    """Marks artifacts as DELETED, unless one of them came to be needed since the plan.

    From here on TFX's cache passes them over, and they cannot be pinned.

    Raises:
      RunError: one was pinned, or taken by a run of another folder with the same store.
    """
    before = set_states(connection, dict.fromkeys(ids, DELETED))
    with contextlib.closing(open_reader(connection)) as reader:
        needed = needs(reader, keep_runs).needed
    if taken := sorted(needed.keys() & before.keys()):
        set_states(connection, before)
        raise RunError(
            f"Artifact {taken[0]} has just come to be needed ({needed[taken[0]]}), so nothing "
            "was removed. Run the same command again."
        )


def set_states(connection: Connection, states: Mapping[int, int]) -> dict[int, int]:
    """Writes artifacts' states; returns those that they had."""
    before = {}
    with open_store(connection) as store:
        for ids in batches(sorted(states), _BATCH):
            artifacts = store.get_artifacts_by_id(ids)
            for artifact in artifacts:
                before[artifact.id] = artifact.state
                artifact.state = states[artifact.id]
            store.put_artifacts(artifacts)
    return before


def remove_files(work: GcPlan, trash: Path, progress: Progress) -> GcResult:
    """Deletes what a plan names, and what an earlier gc left; goes on after failures."""
    failures = [f for f in map(_delete, _entries(trash)) if f is not None]
    removed = freed = 0
    for number, item in enumerate(work.remove):
        progress(number, len(work.remove))
        failure = _remove_item(item, trash)
        if failure is None:
            removed += 1
            freed += item.bytes
        else:
            failures.append(failure)
    progress(len(work.remove), len(work.remove))
    for empty in (*_entries(trash), trash):
        with contextlib.suppress(OSError):
            empty.rmdir()
    if not failures:
        freed = work.bytes
    return GcResult(plan=work, removed=removed, freed=freed, failures=tuple(failures))


def _remove_item(item: GcItem, trash: Path) -> Failure | None:
    path = Path(local_path(item.uri) or "")
    if not os.path.lexists(path):
        return None
    try:
        return _delete(_moved_aside(path, trash, item.artifact_id))
    except OSError as e:
        return Failure(path=str(path), reason=e.strerror or str(e))


def _moved_aside(path: Path, trash: Path, artifact_id: int) -> Path:
    """Moves a directory out of sight in one step; returns what to delete.

    That is the directory itself where it cannot be moved: on a full disk, or when it
    is a file system of its own.
    """
    try:
        trash.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{artifact_id}-", dir=trash))
        os.rename(path, aside / path.name)
    except OSError as e:
        if e.errno in (errno.EXDEV, errno.ENOSPC, errno.EDQUOT):
            return path
        raise
    return aside


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _delete(path: Path) -> Failure | None:
    """Deletes as much as can be; links are not followed."""
    errors: list[OSError] = []
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=lambda _, __, info: errors.append(info[1]))  # type: ignore[arg-type]
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError as e:
            errors.append(e)
    if not errors:
        return None
    first = errors[0]
    return Failure(path=str(first.filename or path), reason=first.strerror or str(first))
