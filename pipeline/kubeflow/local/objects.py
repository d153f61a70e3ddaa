"""The object store of local runs, and what the launcher copies from and to it.

As the real one it keeps files alone: a folder without any is nothing.  Each task gets
copies, in a folder of its own, so that nobody changes what another one reads.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from common.errors import ConfigError
from common.mounts import MOUNTS


def local_place(root: Path, uri: str) -> Path:
    """Returns where the files of a URI lie below a root, the store's or a task's.

    Raises:
      ConfigError: nothing here stands for its scheme.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in MOUNTS:
        raise ConfigError(
            f"The pipeline root {uri!r} cannot be kept here. Expected one that begins with "
            f"{', '.join(f'{s}://' for s in MOUNTS)}."
        )
    return root / MOUNTS[scheme].strip("/") / rest


def download(uri: str, store: Path, root: Path) -> None:
    """Copies the files of an artifact into what a task has to itself."""
    source, target = local_place(store, uri), local_place(root, uri)
    for file in _files(source):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def upload(uri: str, root: Path, store: Path) -> None:
    """Moves the files of an artifact out of what a task has to itself."""
    source, target = local_place(root, uri), local_place(store, uri)
    for file in _files(source):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            shutil.copyfile(file, place)
        else:
            os.replace(file, place)


def _files(place: Path) -> list[Path]:
    """Returns the files at a place: itself, or those below it."""
    if not place.is_dir():
        return [place] if place.exists() else []
    folders = os.walk(place, followlinks=True)
    return [Path(folder) / name for folder, _, names in folders for name in names]
