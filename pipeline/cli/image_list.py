"""Images that a command is asked about: files, folders, lists of files, digests."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from common.errors import ConfigError
from common.files import sha256_file, walk_files
from common.images.errors import BadImage


def images_asked(
    files: Sequence[Path] | None, list_file: str | None, digests: Sequence[str] | None
) -> dict[str, str | None]:
    """The SHA-256 of each image, in order, with the file it is of.

    Raises:
      ConfigError: a file is missing or cannot be read, a digest is none, a folder or
        list names no image.
    """
    asked: dict[str, str | None] = {}
    for file in files or ():
        for path in _in_folder(file) if file.is_dir() else [file]:
            asked.setdefault(_digest(path, "--image"), os.fspath(path))
    for path in _listed(list_file) if list_file is not None else ():
        asked.setdefault(_digest(path, f"--images-from {list_file}"), os.fspath(path))
    for text in digests or ():
        if not re.fullmatch("[0-9a-fA-F]{64}", text):
            raise ConfigError(f"--sha256: expected 64 hexadecimal digits, got {text!r}.")
        asked.setdefault(text.lower(), None)
    return asked


def _in_folder(folder: Path) -> list[Path]:
    images = [p for p in walk_files(folder) if not p.name.startswith(".") and is_image(p)]
    if not images:
        raise ConfigError(f"--image: expected images in the folder {str(folder)!r}, found none.")
    return images


def _listed(list_file: str) -> Iterator[Path]:
    """Names are taken as they are, without quotes or escapes: what has line feeds needs NULs."""
    try:
        content = sys.stdin.buffer.read() if list_file == "-" else Path(list_file).read_bytes()
    except OSError as e:
        raise ConfigError(f"--images-from: cannot read {list_file!r}: {e.strerror}.") from None
    names = content.split(b"\0") if b"\0" in content else content.split(b"\n")
    paths = [Path(os.fsdecode(name)) for name in names if name.strip()]
    if not paths:
        raise ConfigError(f"--images-from: {list_file!r} names no file.")
    yield from paths


def _digest(path: Path, option: str) -> str:
    if not path.is_file():
        reason = "that is a folder" if path.is_dir() else "there is no such file"
        raise ConfigError(f"{option}: expected an image file, got {os.fspath(path)!r}: {reason}.")
    try:
        return sha256_file(path)
    except OSError as e:
        raise ConfigError(f"{option}: cannot read {os.fspath(path)!r}: {e.strerror}.") from None


def is_image(path: Path) -> bool:
    """Whether it begins as an image does; what does not was never ingested."""
    from common.images.pixels import open_image  # most questions are about no image

    try:
        with open_image(path.read_bytes(), max_pixels=sys.maxsize):
            return True
    except (BadImage, OSError):
        return False


def shown(path: str) -> str:
    """A file's name for people, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def not_images(asked: Iterable[str | None]) -> list[str]:
    """Those of the files that are no images."""
    return [shown(p) for p in asked if p is not None and not is_image(Path(p))]
