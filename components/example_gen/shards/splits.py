"""Which split the names of a shard and of the folders that it is in say."""

from __future__ import annotations

import os
import re

from common.errors import DataError
from components.example_gen.folders.names import SPLIT_NAMES


def split_of(path: str, name: str) -> tuple[str | None, str]:
    """Returns the split of a file, and the folders that are not its split's.

    Args:
      path: of the data, for messages.
      name: of the file, relative to it.

    Raises:
      DataError: the name says two splits, or another than its folder.
    """
    *folders, file = name.split(os.sep)
    split = split_said(file, path)
    others = []
    for folder in reversed(folders):
        said = split_said(folder, path)
        if said is None:
            others.append(folder)
        elif split not in (None, said):
            raise DataError(f"{path}: the folder of {name} says {said}, its name {split}; move it.")
        split = split or said
    return split, "/".join(reversed(others))


def split_said(name: str, path: str) -> str | None:
    """Returns the split that the name of a file or folder says, such as x-train-00000.parquet."""
    words = re.split(r"[^a-z]+", name.lower())
    said = {SPLIT_NAMES[w] for w in words if w in SPLIT_NAMES}
    if len(said) > 1:
        raise DataError(
            f"{path}: {name} could be of the split {' or '.join(sorted(said))}; rename it, or move "
            "it into a folder called as its split."
        )
    return next(iter(said), None)
