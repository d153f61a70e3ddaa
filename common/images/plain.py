"""Whether an image file is used as it is, or normalised first: a look at its headers.

TensorFlow reads a plain file to the pixels that it shows.  Nothing is decoded, so that
the plain files of a server, which are most, cost nothing.  What is not plain for certain
is not plain: `common.images.pixels` then writes it anew.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PIXELS = 50_000_000
"""Of an image (width × height), where nothing else is set."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_APP1, _SCAN, _END = 0xE1, 0xDA, b"\xff\xd9"
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Sequential and progressive, Huffman coded; TensorFlow reads no others."""
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BARE = {0x00, 0x01, *range(0xD0, 0xDA), 0xFF}
"""Second bytes that no segment begins with."""
EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_ORIENTATION = 0x0112
_TURNED = range(2, 9)
_TURNED_BY_XMP = re.compile(rb'tiff:Orientation(?:="|>)[2-8]')
_SHORT = 3
"""The type of an orientation in Exif."""
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_TEXTS_WITH_ORIENTATION = re.compile(rb"Raw profile type |XML:com\.adobe\.xmp\0")
_SAMPLES = {0: 1, 2: 3, 3: 3}
"""Channels by a PNG's colour type: grey, RGB, palette; the others have alpha."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A file that is used as it is; sizes in pixels."""

    format: str
    """"jpeg" or "png"."""
    width: int
    height: int
    channels: int
    """1 (grey) or 3."""


def look(data: bytes) -> Plain | None:
    """What a file is, if it is plain: an upright, opaque JPEG or PNG of 8 bits a sample."""
    try:
        if data.startswith(_JPEG):
            return _look_at_jpeg(data)
        return _look_at_png(data) if data.startswith(_PNG) else None
    except (struct.error, IndexError):  # cut off
        return None


def _look_at_jpeg(data: bytes) -> Plain | None:
    found: Plain | None = None
    exifs = 0
    for marker, start, end in jpeg_segments(data):
        if marker == _SCAN:
            # Pillow refuses a JPEG without an end, TensorFlow fills up some.
            return found if exifs <= 1 and data.rfind(_END, end) >= 0 else None
        if marker in _FRAMES and found is None:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, start)
            if bits != 8 or samples not in (1, 3) or not width * height:
                return None
            found = Plain("jpeg", width, height, samples)
        elif marker in _FRAMES or marker in _OTHER_FRAMES:
            return None
        elif marker == _APP1:
            exifs += data.startswith(EXIF, start)  # Pillow joins several
            if _is_turned(data, start, end):
                return None
    return None


def _is_turned(data: bytes, start: int, end: int) -> bool:
    """Whether a segment of metadata may ask for turning."""
    if data.startswith(EXIF, start):
        return not _is_upright(data[start + len(EXIF) : end])
    return data.startswith(_XMP, start) and bool(_TURNED_BY_XMP.search(data, start, end))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of a JPEG's segments, up to the first scan or what is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in _BARE:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 or at + 2 + length > len(data):
            return
        yield data[at + 1], at + 4, at + 2 + length
        if data[at + 1] == _SCAN:
            return
        at += 2 + length


def _look_at_png(data: bytes) -> Plain | None:
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    if data[8:16] != b"\0\0\0\x0dIHDR" or bits > 8 or kind not in _SAMPLES or not width * height:
        return None
    for name, start, end in png_chunks(data):
        if name == b"IEND":
            return Plain("png", width, height, _SAMPLES[kind])
        if name == b"tRNS" or (name == b"IHDR" and start != 16):
            return None
        if name == b"eXIf" and not _is_upright(data[start:end].removeprefix(EXIF)):
            return None
        if name in _TEXTS and _TEXTS_WITH_ORIENTATION.match(data, start, end):
            return None
    return None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of what a PNG's chunks hold, up to where it ends or breaks off."""
    at, name = 8, b""
    while name != b"IEND" and at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + 8 + length
        at += 12 + length


def _is_upright(exif: bytes) -> bool:
    """Whether metadata (a TIFF) surely ask for no turning."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order = "<" if exif[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == _ORIENTATION and ((kind, values) != (_SHORT, 1) or value in _TURNED):
            return False
    return True
