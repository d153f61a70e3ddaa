"""How many pushed versions are kept, and which are never removed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from common.files import sync_directory
from modelstore.in_use import unused
from modelstore.labels import read_labels
from modelstore.versions import REMOVED, damage, list_versions, locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    removed: tuple[int, ...]
    spared: dict[int, str]
    """Why others beyond those that are kept were not removed."""


def prune(folder: Path, keep: int) -> Pruned:
    """Removes the oldest versions of a model beyond the newest `keep` whole ones.

    The latest is kept, and what has a label, and what a server on any machine that
    shares the folder's locks has loaded.  A version disappears at once, and its files
    after that.

    Args:
      folder: `<destination>/<name>`.
      keep: at least 1.

    Raises:
      DataError: labels.json cannot be read, so that nobody knows what has a label.
      OSError: something cannot be removed; what is visible is whole.
    """
    if not list_versions(folder):
        return Pruned(removed=(), spared={})
    with locked(folder):
        versions = list_versions(folder)
        labels = sorted(read_labels(folder).versions.items())
        removed, spared = [], {}
        for version in _surplus(folder, versions, keep):
            directory = folder / str(version)
            if names := [label for label, labelled in labels if labelled == version]:
                spared[version] = f"labelled {', '.join(names)}"
                continue
            with unused(directory) as reason:
                if reason:
                    spared[version] = reason
                    continue
                os.rename(directory, folder / f"{REMOVED}{version}")
                sync_directory(folder)
            removed.append(version)
        for leftover in folder.glob(f"{REMOVED}*"):
            shutil.rmtree(leftover)
    return Pruned(removed=tuple(removed), spared=spared)


def _surplus(folder: Path, versions: list[int], keep: int) -> list[int]:
    """Returns those older than the newest `keep` whole ones; the oldest first.

    Damaged ones do not count: a server could not go back to them.
    """
    kept = 0
    for index in range(len(versions) - 1, -1, -1):
        kept += not damage(folder / str(versions[index]))
        if kept == keep:
            return [v for v in versions[:index] if v != versions[-1]]
    return []
