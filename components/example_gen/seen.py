"""What files held when they were last read, so that those that have not changed are not read again.

As in git's index, a file is taken for unchanged while its size, the times of its last change
and its place on the disk are those of then.  Unlike the time that programs set, that of the last
change of anything (ctime) cannot be set back.  A file that had changed just before it was
read is not kept, since a further change might bear the same time.

It holds no names: 48 bytes a file, of which 16 are a hash of its path and status.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.files import write_atomic

_SETTLED_NS = 2 * 10**9
"""The coarsest times that file systems keep."""
_ENTRY = [("stamp", "S16"), ("sha256", "u1", 32)]
_ENTRY_BYTES = 48
_CHECKSUM = 32
_STATUS = struct.Struct("<QQqq")


def stamp(path: bytes, status: os.stat_result) -> bytes:
    """Returns 16 bytes that stand for a file as it is now; none where it has only just changed."""
    modified, changed = status.st_mtime_ns, status.st_ctime_ns
    if max(modified, changed) > time.time_ns() - _SETTLED_NS:
        return b""
    numbers = _STATUS.pack(status.st_ino, status.st_size, modified, changed)
    return hashlib.blake2b(numbers + path, digest_size=16).digest()


def entry(stamp: bytes, sha256: str) -> bytes:
    """Returns what `Seen.keep` takes of a file; nothing where it has no stamp."""
    return stamp and stamp + bytes.fromhex(sha256)


class Seen:
    """The contents of files by their stamps."""

    def __init__(self, path: Path) -> None:
        """Reads a file; one that is not there, or not whole, holds nothing."""
        import numpy as np  # a command imports this and knows no files

        self._path = path
        self._new = bytearray()
        content = path.read_bytes() if path.exists() else b""
        entries = memoryview(content)[_CHECKSUM:]
        whole = len(entries) % _ENTRY_BYTES == 0
        if not whole or hashlib.sha256(entries).digest() != content[:_CHECKSUM]:
            entries = memoryview(b"")
        self._entries = np.frombuffer(entries, _ENTRY)

    @property
    def is_new(self) -> bool:
        """Says whether nothing has been written yet."""
        return not self._path.exists()

    def known(self, stamps: Sequence[bytes]) -> list[str]:
        """Returns the SHA-256 of each stamp's file in hexadecimal, "" for those not known."""
        import numpy as np

        kept, wanted = self._entries["stamp"], np.array(stamps, "S16")
        if not kept.size:
            return [""] * len(stamps)
        at = np.minimum(np.searchsorted(kept, wanted), kept.size - 1)
        found = (kept[at] == wanted).tolist()
        contents = self._entries["sha256"][at]
        return [c.tobytes().hex() if f else "" for c, f in zip(contents, found, strict=True)]

    def keep(self, entries: Iterable[bytes]) -> None:
        """Takes entries of files of now; what is not taken again is forgotten."""
        self._new += b"".join(entries)

    def write(self) -> None:
        import numpy as np

        entries = np.frombuffer(self._new, _ENTRY)
        entries = entries[np.argsort(entries["stamp"])]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = entries.tobytes()
        write_atomic(self._path, hashlib.sha256(content).digest() + content)
