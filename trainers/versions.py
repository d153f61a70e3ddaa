"""The serving folder: `<destination>/<name>/<version>/`, written and read.

A version is copied to a hidden sibling, fsynced and renamed, so a reader sees
all of it or nothing.  Versions only ever increase: the highest one ever given
is kept in `.latest` even when its folder is removed later.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.artifact import MANIFEST, PushManifest
from trainers.errors import DataError
from trainers.files import checksums, sync_directory, walk_files, write_atomic

_HIGHEST = ".latest"
_LOCK = ".lock"
_PARTIAL = ".partial-"
REMOVED = ".removed-"
"""Before a version that is taken away and being deleted; see `trainers.retention`."""


def list_versions(folder: Path) -> list[int]:
    """The versions of a model folder, in increasing order; empty if there is none."""
    if not folder.is_dir():
        return []
    return sorted(int(d.name) for d in folder.iterdir() if d.name.isdecimal() and d.is_dir())


def leftovers(folder: Path) -> list[Path]:
    """What killed pushes and removals left in a model folder; nothing while one is under way."""
    try:
        lock = open(folder / _LOCK)  # noqa: SIM115 - the next line
    except FileNotFoundError:
        return _partials(folder)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        return _partials(folder)


def withdrawn_by(folder: Path, model_uri: str, digest: str | None = None) -> int | None:
    """The rollback that took a model out of service, if none of its versions is newer.

    Args:
      digest: of the model, see `trainers.artifact.model_digest`; None: by its URI, which
        is all that older rollbacks say.

    Returns:
      The version that the rollback made; None: the model was not rolled back from.
    """
    found = None
    for version in list_versions(folder):
        try:
            manifest = PushManifest.read(folder / str(version))
        except DataError:
            continue
        by_digest = digest is not None and bool(manifest.withdrawn_models)
        if manifest.model_uri == model_uri if digest is None else manifest.model_digest == digest:
            found = None
        elif digest in manifest.withdrawn_models if by_digest else model_uri in manifest.withdrawn:
            found = version
    return found


def next_version(folder: Path) -> int:
    """One more than any version this folder has ever had; the first is 1."""
    try:
        highest = int((folder / _HIGHEST).read_text())
    except (FileNotFoundError, ValueError):
        highest = 0
    return max([highest, *list_versions(folder)]) + 1


def damage(version_dir: Path) -> list[str]:
    """What differs between a pushed version and its manifest; empty if nothing."""
    try:
        expected = PushManifest.read(version_dir).checksums
    except DataError as e:
        return [str(e)]
    found = checksums(version_dir)
    found.pop(MANIFEST, None)
    return [
        f"{path}: {'missing' if path not in found else 'changed'}"
        for path, digest in sorted(expected.items())
        if found.get(path) != digest
    ] + [f"{path}: not in the manifest" for path in sorted(found.keys() - expected.keys())]


def publish(source: Path, folder: Path, manifest: Callable[[int], PushManifest]) -> PushManifest:
    """Copies a model into the next version of `folder`, whole or not at all.

    Args:
      source: the model artifact's directory.
      folder: `<destination>/<name>`, made if missing.
      manifest: given the version, returns its manifest without checksums,
        which are taken from the copy and compared with the source's.

    Raises:
      DataError: when the copy differs from the source.
      OSError: when it cannot be written; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _remove_leftovers(folder)
        version = next_version(folder)
        partial = folder / f"{_PARTIAL}{version}"
        try:
            shutil.copytree(source, partial)
            copied = checksums(partial)
            if copied != checksums(source):
                raise DataError(f"{source} changed while it was being copied; push it again.")
            copied.pop(MANIFEST, None)  # of a version that is pushed again
            pushed = dataclasses.replace(manifest(version), checksums=copied)
            pushed.write(partial)
            _sync(partial)
            write_atomic(folder / _HIGHEST, str(version).encode())
            os.rename(partial, folder / str(version))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_directory(folder)
    return pushed


def _partials(folder: Path) -> list[Path]:
    return sorted([*folder.glob(f"{_PARTIAL}*"), *folder.glob(f"{REMOVED}*")])


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left; the lock says that none runs."""
    for leftover in _partials(folder):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in folder.glob(f".{_HIGHEST}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _sync(root: Path) -> None:
    for path in walk_files(root):
        with open(path, "rb") as f:
            os.fsync(f.fileno())
    for directory, _, _ in os.walk(root):
        sync_directory(Path(directory))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer at a time, also across processes."""
    with open(folder / _LOCK, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
