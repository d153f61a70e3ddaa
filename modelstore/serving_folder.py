"""Finds models and their versions in a serving folder."""

from __future__ import annotations

from pathlib import Path

from common.errors import DataError, nearest
from modelstore.versions import list_versions


def model_names(serving: Path) -> list[str]:
    """Returns the names with at least one version."""
    if not serving.is_dir():
        return []
    return sorted(d.name for d in serving.iterdir() if d.is_dir() and list_versions(d))


def model_folder(serving: Path, name: str) -> Path:
    """Returns `<serving>/<name>`.

    Raises:
      DataError: nothing was pushed there under the name.
    """
    names = model_names(serving)
    if name not in names:
        raise DataError(f"No pushed model {name!r} in {serving}.{nearest(name, names)}")
    return serving / name


def find_version(serving: Path, name: str | None, version: int | None) -> Path:
    """Returns the folder of a pushed version; the latest one where none is named.

    Raises:
      DataError: there is none, or the name is missing and not clear.
    """
    names = model_names(serving)
    if not names:
        raise DataError(f"No pushed model in {serving}. Expected <name>/<version>/ folders there.")
    if name is None and len(names) > 1:
        raise DataError(f"{serving} serves {', '.join(names)}: choose one with --name.")
    folder = model_folder(serving, name or names[0])
    versions = list_versions(folder)
    if version is not None and version not in versions:
        listed = ", ".join(map(str, versions))
        raise DataError(f"{folder.name} has no version {version}. Versions: {listed}.")
    return folder / str(versions[-1] if version is None else version)
