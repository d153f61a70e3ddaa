"""Finding the file that a manifest means, however its path is written.

A path that names a file exactly means that file.  Otherwise it may be written with backslashes,
as a URL of a file, percent-encoded, in another Unicode form or case, or without the extension:
whatever names one file, and one only.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from common.errors import DataError
from components.example_gen.folders.names import IMAGE_EXTENSIONS
from components.example_gen.manifests.table import in_windows_1252

_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
"""Of a URL; one letter is a drive of Windows."""
_FILE_URL = re.compile(rb"file:///|file://localhost/|file:/(?!/)", re.IGNORECASE)
_LOCAL_FILES = b"/data/local-files/?d="
_UPLOAD = re.compile(rb"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?")
"""Where Label Studio keeps what was uploaded, and what it puts before the name."""


@dataclass(slots=True)
class Finder:
    """The files that paths of a manifest can mean."""

    base: bytes
    """Folder that relative paths start from, absolute."""
    _listed: dict[tuple[bytes, Callable[[bytes], str]], dict[str, list[bytes]]] = field(
        default_factory=dict
    )
    _real: dict[bytes, bytes] = field(default_factory=dict)

    def readings(self, written: bytes) -> Iterator[bytes]:
        """Yields what a path can mean, literally first.

        Raises:
          DataError: it is the URL of something that is no file.
        """
        yield written
        if _FILE_URL.match(written):
            yield unquote_to_bytes(_FILE_URL.sub(b"/", written))
        elif _SCHEME.match(written):
            raise DataError(
                f"expected the path of a file, got the URL {_short(written)}; "
                "download the images and name the files"
            )
        elif written.startswith(_LOCAL_FILES):
            yield unquote_to_bytes(written.removeprefix(_LOCAL_FILES))
        elif upload := _UPLOAD.match(written):
            inside = written.removeprefix(b"/data/")
            yield from (inside, os.path.basename(inside), written[upload.end() :])
        elif written.startswith(b"~/"):
            yield os.path.expanduser(written)
        if b"\\" in written:
            yield written.replace(b"\\", b"/")
        if b"%" in written:
            yield unquote_to_bytes(written)

    def find(self, written: bytes) -> list[bytes]:
        """Returns the paths of the files that a path can mean; none where there is no such file.

        Raises:
          DataError: it is the URL of something that is no file.
        """
        readings = [plain(reading) for reading in self.readings(written)]
        for reading in readings:
            if os.path.lexists(self._file(reading)):
                return [reading]
        for name_of, last_of in ((_composed, _composed), (_folded, _folded), (_folded, _stem)):
            for reading in readings[::-1]:
                if found := self._alike(reading, name_of, last_of):
                    return found
        return []

    def with_other_extension(self, written: bytes) -> list[bytes]:
        """Returns the images that are called like a file, but for the extension."""
        for reading in self.readings(written):
            stem = os.path.splitext(plain(reading))[0]
            if found := self._alike(stem, _folded, _stem):
                return found
        return []

    def stored(self, path: bytes) -> bytes:
        """Returns a path as it is kept: relative where it is below the base."""
        if path.startswith(b"/"):
            for base in (self.base, self._real_folder(self.base)):
                if path.startswith(os.path.join(base, b"")):
                    return path[len(os.path.join(base, b"")) :]
        return path

    def identity(self, path: bytes) -> bytes:
        """Returns what is equal for all paths to one file, through symbolic links too."""
        folder, name = os.path.split(self._file(path))
        file = os.path.join(self._real_folder(folder), name)
        return os.path.realpath(file) if os.path.islink(file) else file

    def _file(self, path: bytes) -> bytes:
        return os.path.join(self.base, path)

    def _real_folder(self, folder: bytes) -> bytes:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]

    def _alike(
        self, path: bytes, name_of: Callable[[bytes], str], last_of: Callable[[bytes], str]
    ) -> list[bytes]:
        """Returns the paths whose every name is like that of `path`; those there as they are win.

        Args:
          name_of: makes of two names that are alike the same text.
          last_of: the same, of the names of files.
        """
        *folders, last = path.lstrip(b"/").split(b"/")
        found = [b"/" if path.startswith(b"/") else b""]
        for folder in folders:
            found = [p for f in found for p in self._children(f, folder, name_of, name_of)]
        return [p for f in found for p in self._children(f, last, name_of, last_of)]

    def _children(
        self,
        folder: bytes,
        name: bytes,
        name_of: Callable[[bytes], str],
        listed_as: Callable[[bytes], str],
    ) -> list[bytes]:
        exact = os.path.join(folder, name)
        if os.path.lexists(self._file(exact)):
            return [exact]
        key = (folder, listed_as)
        if key not in self._listed:
            names: dict[str, list[bytes]] = {}
            for child in _names(self._file(folder)):
                names.setdefault(listed_as(child), []).append(child)
            self._listed[key] = names
        alike = self._listed[key].get(name_of(name), [])
        return [os.path.join(folder, child) for child in sorted(alike)]


def plain(path: bytes) -> bytes:
    """Returns a path without empty names and single dots; what ".." leads to, links decide."""
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    return (b"/" if path.startswith(b"/") else b"") + b"/".join(names)


def _names(folder: bytes) -> list[bytes]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []


def _composed(name: bytes) -> str:
    text = os.fsdecode(name)
    return unicodedata.normalize("NFC", in_windows_1252(text) or text).strip()


def _folded(name: bytes) -> str:
    return _composed(name).casefold()


def _stem(name: bytes) -> str:
    stem, extension = os.path.splitext(name)
    return _folded(stem) if extension.lower() in IMAGE_EXTENSIONS else "/"  # no name has it


def _short(path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 80 else text[:80] + "…")
