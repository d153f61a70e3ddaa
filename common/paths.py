"""Paths that a library would not take for what they are.

TFX, Beam and TensorFlow take the paths of what they write and read for patterns, with no
way to quote: Beam deletes whatever the pattern of its output files matches, so a run into
`c*d` empties the artifacts of `cXd` beside it.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from common.errors import ConfigError

_PATTERN = "*?[\\"
r"""What matches something else than itself, to Beam's `FileSystems.match` (* ? [) or to
TensorFlow's file system (\ too)."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNPRINTABLE = {"Cc": "a control character", "Cs": "bytes that are not UTF-8"}
_UNPRINTABLE |= {"Zl": "a line separator", "Zp": "a paragraph separator"}
_LONGEST = 3500
"""Bytes of a folder's path: Linux takes 4096, and TFX and Beam add some 400."""


def check_folder(key: str, folder: str | os.PathLike[str]) -> None:
    """Refuses a folder that TFX, Beam or TensorFlow would not take for itself.

    Args:
      key: what it is, as the user knows it, such as "run.output".
      folder: as the user wrote it; a relative path's working folder counts too.

    Raises:
      ConfigError: says which character, in which path, and what to do.
    """
    text = os.fspath(folder)
    check_text(key, text)
    path = str(Path(text).absolute())
    special = next((c for c in path if c in _PATTERN), None)
    if special is not None:
        raise ConfigError(
            f"{key}: TFX, Beam and TensorFlow take the {special!r} in {path!r} for a pattern, and "
            f"could read and delete the files of other folders. Choose a folder without "
            f"{' '.join(_PATTERN)} in its whole path."
        )
    unprintable = next(filter(None, (_UNPRINTABLE.get(unicodedata.category(c)) for c in path)), "")
    if unprintable:
        raise ConfigError(
            f"{key}: there is {unprintable} in {path!r}. Choose a path without, or rename the "
            "folder."
        )
    if len(os.fsencode(path)) > _LONGEST:
        raise ConfigError(
            f"{key}: expected a path of at most {_LONGEST} bytes, since long ones are made below "
            f"it, got {len(os.fsencode(path))}: {path[:80]}… Choose one nearer to the root."
        )


def check_text(key: str, text: str) -> None:
    """Refuses what looks like a path and would make a folder of another name.

    Raises:
      ConfigError: it is a URL, or needs a shell to be expanded.
    """
    if url := _URL.match(text):
        raise ConfigError(
            f"{key}: expected a path on this machine, got {text!r}. Nothing is written to "
            f"{url[0]} directly; mount it, and name the folder it is mounted on."
        )
    if text.startswith(("~", "$")):
        raise ConfigError(
            f"{key}: {text[0]!r} is not expanded here, got {text!r}. Write the path in full, or "
            f"./{text} for a folder of that name."
        )


def is_utf8(text: str) -> bool:
    """Says whether text is more than the bytes of a path, which Python takes for surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


@contextlib.contextmanager
def patternless(folder: Path) -> Iterator[str]:
    """Yields a name of a folder that is no pattern to TensorFlow, and is UTF-8, for the while.

    TensorFlow reads a SavedModel's variables by a pattern: below `[v1]` it finds none.

    Raises:
      OSError: there is no such folder.
    """
    text = str(folder)
    if not set(text) & set(_PATTERN) and is_utf8(text):
        yield text
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}"
    finally:
        os.close(opened)
