"""The parts that JPEGs and PNGs consist of, found without decoding anything."""

from __future__ import annotations

import struct
from collections.abc import Iterator

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""What their files begin with."""
SCAN = 0xDA
"""The marker of a JPEG before its pixels."""
_SEGMENT = struct.Struct(">BBH")
_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}
"""Second bytes that no segment begins with."""


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of a JPEG's segments, up to the first scan or what is none.

    Bytes may stand before a marker to fill up: then it is more than four bytes after the
    end of the segment before it.
    """
    at, size = 2, len(data)
    while at + 4 <= size:
        first, marker, length = _SEGMENT.unpack_from(data, at)
        if first != 0xFF or marker in _BARE:
            return
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + length
        if length < 2 or end > size:
            return
        yield marker, at + 4, end
        if marker == SCAN:
            return
        at = end


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of what a PNG's chunks hold, up to where it ends or breaks off."""
    at, name = 8, b""
    while name != b"IEND" and at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + 8 + length
        at += 12 + length
