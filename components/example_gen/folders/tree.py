"""A tree of files to list, wherever it is: a folder on disk, or what an archive holds."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """What a directory of a tree lists."""

    path: bytes
    """Below the tree's root, names parted by "/"."""
    is_directory: bool
    is_symlink: bool = False
    """Whether it stands for something that is elsewhere, `is_directory` included."""

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]


class Tree(Protocol):
    """What the rules of listing need to know of a tree; b"" is its root."""

    def entries(self, directory: bytes) -> list[Entry]:
        """Returns what a directory holds, sorted by name; raises OSError."""
        ...

    def identity(self, directory: bytes) -> Hashable:
        """Returns what is equal for two paths that lead to one directory."""
        ...

    def head(self, path: bytes, size: int) -> bytes:
        """Returns the first bytes of a file; raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class LocalTree:
    """A folder on disk."""

    root: bytes

    def entries(self, directory: bytes) -> list[Entry]:
        with os.scandir(os.path.join(self.root, directory)) as found:
            entries = [
                Entry(os.path.join(directory, e.name), _is_directory(e), e.is_symlink())
                for e in found
            ]
        return sorted(entries, key=lambda e: e.name)

    def identity(self, directory: bytes) -> Hashable:
        status = os.stat(os.path.join(self.root, directory))
        return status.st_dev, status.st_ino

    def head(self, path: bytes, size: int) -> bytes:
        file = os.path.join(self.root, path)
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a named pipe would wait for ever
            raise OSError(errno.EINVAL, "not a file")
        with open(file, "rb") as f:
            return f.read(size)


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link that leads to itself
        return False
