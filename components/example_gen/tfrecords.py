"""Files of raw examples: gzipped TFRecords, as every program reads them, written fast.

What is in them is compressed already, being JPEGs and PNGs, and compressing it again takes
longer than decoding it.  So a file's gzip stream holds its bytes as they are.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

_BUFFER = 1 << 18


def framed(example: bytes) -> bytes:
    """Returns an example as a TFRecord: its length, checksums of both, and itself."""
    length = struct.pack("<Q", len(example))
    return b"".join((length, _checksum(length), example, _checksum(example)))


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Writer:
    """Writes a file of framed examples."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115
        self._gzip = zlib.compressobj(level=0, wbits=zlib.MAX_WBITS | 16)
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, record: bytes) -> None:
        # Many at once: other threads get the interpreter each time, and give it back late.
        self._waiting.append(record)
        self._size += len(record)
        if self._size >= _BUFFER:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.write(self._gzip.flush())
        self._file.close()

    def _flush(self) -> None:
        self._file.write(self._gzip.compress(b"".join(self._waiting)))
        self._waiting.clear()
        self._size = 0


def read(path: Path) -> Iterator[bytes]:
    """Yields the framed examples of a file that a `Writer` has closed."""
    with gzip.open(path) as file:
        while head := file.read(12):
            (length,) = struct.unpack_from("<Q", head)
            yield head + file.read(length + 4)
