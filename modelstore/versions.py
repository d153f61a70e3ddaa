"""The serving folder: `<destination>/<name>/<version>/`, written and read.

A version is copied to a hidden sibling, fsynced and renamed, so a reader sees
all of it or nothing.  Nobody else can enter it before that, and everybody can write to
it at no time, see `modelstore.permissions`.  Versions only ever increase: the highest one ever
given is kept in `.latest` even when its folder is removed later.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DataError
from common.files import checksums, sync_directory, walk_files, write_atomic
from modelstore.artifact import MANIFEST, PushManifest
from modelstore.permissions import close_tree, closed, make_folder

HIGHEST = ".latest"
_LOCK = ".lock"
_PARTIAL = ".partial-"
REMOVED = ".removed-"
"""Before a version that is taken away and being deleted; see `modelstore.retention`."""

LARGEST = 2**63 - 1
"""A version is an int64 in gRPC's messages."""


def parse_version(text: str) -> int | None:
    """Reads a version in its one way of being written, 1, 2, …; None for anything else."""
    if len(text) > 19 or not re.fullmatch(r"[1-9][0-9]*", text):
        return None
    version = int(text)
    return version if version <= LARGEST else None


def list_versions(folder: Path) -> list[int]:
    """Returns the versions of a model folder, in increasing order; empty if there is none.

    Raises:
      OSError: it cannot be read.
    """
    versions = (parse_version(d.name) for d in _folders(folder))
    return sorted(version for version in versions if version is not None)


def look_alikes(folder: Path) -> list[str]:
    """Folders beside the versions that are named by a number and are none, such as 007."""
    return sorted(
        d.name
        for d in _folders(folder)
        if parse_version(d.name) is None
        and (re.fullmatch(r"[+-]?[0-9_.]*[0-9]", d.name) or d.name.isnumeric())
    )


def _folders(folder: Path) -> list[Path]:
    return [d for d in folder.iterdir() if d.is_dir()] if folder.is_dir() else []


def leftovers(folder: Path) -> list[Path]:
    """Returns what killed pushes and removals left; nothing while one is under way."""
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


def withdrawn_by(folder: Path, model_uri: str, digest: str) -> int | None:
    """Returns the rollback that withdrew a model, if none of its versions is newer.

    Args:
      model_uri: all that older rollbacks say of a model.
      digest: of the model, see `modelstore.artifact.model_digest`.

    Returns:
      The version that the rollback made; None: the model was not rolled back from.
    """
    rollback = None
    for version in list_versions(folder):
        manifest = PushManifest.find(folder / str(version))
        if manifest is None:
            continue
        by_digest = manifest.withdrawn_models
        if manifest.model_digest == digest:
            rollback = None
        elif digest in by_digest if by_digest else model_uri in manifest.withdrawn:
            rollback = version
    return rollback


def next_version(folder: Path) -> int:
    """Returns one more than any version this folder has ever had; the first is 1.

    Raises:
      DataError: there is none, after the largest.
    """
    try:
        highest = parse_version((folder / HIGHEST).read_text().strip()) or 0
    except (FileNotFoundError, ValueError):
        highest = 0
    highest = max([highest, *list_versions(folder)])
    if highest == LARGEST:
        raise DataError(
            f"{folder} has had version {LARGEST}, after which there is none. Push under another "
            "name, or remove that version and .latest beside it."
        )
    return highest + 1


def damage(version_dir: Path) -> list[str]:
    """Lists what differs between a pushed version and its manifest; empty if nothing."""
    try:
        expected = PushManifest.read(version_dir).checksums
    except DataError as e:
        return [str(e)]
    actual = checksums(version_dir)
    actual.pop(MANIFEST, None)
    return [
        f"{path}: {'missing' if path not in actual else 'changed'}"
        for path, digest in sorted(expected.items())
        if actual.get(path) != digest
    ] + [f"{path}: not in the manifest" for path in sorted(actual.keys() - expected.keys())]


def publish(source: Path, folder: Path, manifest: Callable[[int], PushManifest]) -> PushManifest:
    """Copies a model into the next version of `folder`, whole or not at all.

    Args:
      source: the model artifact's directory.
      folder: `<destination>/<name>`, made if missing.
      manifest: given the version, returns its manifest without checksums,
        which are taken from the copy and compared with the source's.

    Raises:
      DataError: when the copy differs from the source, or everybody could write to it.
      OSError: when it cannot be written; nothing is left behind.
    """
    make_folder(folder)
    with locked(folder):
        _remove_leftovers(folder)
        version = next_version(folder)
        partial = folder / f"{_PARTIAL}{version}"
        try:
            mode = _make_hidden(partial)
            _copy(source, partial)
            copied = checksums(partial)
            if copied != checksums(source):
                raise DataError(f"{source} changed while it was being copied; push it again.")
            copied.pop(MANIFEST, None)  # of a version that is pushed again
            pushed = dataclasses.replace(manifest(version), checksums=copied)
            pushed.write(partial)
            close_tree(partial, mode)
            _sync(partial)
            write_atomic(folder / HIGHEST, str(version).encode())
            os.rename(partial, folder / str(version))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_directory(folder)
    return pushed


def _make_hidden(folder: Path) -> int:
    """Makes a folder that nobody else can enter; returns the mode that it is to have."""
    folder.mkdir()
    mode = closed(stat.S_IMODE(folder.stat().st_mode))
    folder.chmod(mode & ~0o077)
    return mode


def _copy(source: Path, target: Path) -> None:
    """Copies what files hold, and neither modes nor access lists."""
    for directory, _, names in os.walk(source, onerror=_raise, followlinks=True):
        inside = target / Path(directory).relative_to(source)
        inside.mkdir(exist_ok=True)
        for name in names:
            shutil.copyfile(Path(directory) / name, inside / name)


def _raise(error: OSError) -> None:
    raise error


def _partials(folder: Path) -> list[Path]:
    return sorted([*folder.glob(f"{_PARTIAL}*"), *folder.glob(f"{REMOVED}*")])


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left; the lock says that none runs."""
    for leftover in _partials(folder):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in folder.glob(f".{HIGHEST}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _sync(root: Path) -> None:
    for path in walk_files(root):
        with open(path, "rb") as f:
            os.fsync(f.fileno())
    for directory, _, _ in os.walk(root):
        sync_directory(Path(directory))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one writer in at a time, also across processes."""
    with os.fdopen(os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT, 0o664), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
