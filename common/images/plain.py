"""Whether an image file is used as it is, or normalised first: a look at its headers.

TensorFlow reads a plain file to the pixels that it shows.  Nothing is decoded, so that
the plain files of a server, which are most, cost nothing.  What is not plain for certain
is not plain: `common.images.pixels` then writes it anew.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from common.images.exif import EXIF, TURNED, XMP, is_upright, xmp_orientation
from common.images.segments import JPEG, PNG, SCAN, jpeg_segments, png_chunks

MAX_PIXELS = 50_000_000
"""Of an image (width × height), where nothing else is set."""
MAX_SIDE = 1_000_000
"""Of an image's width and height: libpng, and so TensorFlow, reads no longer ones."""

_APP1, _END = 0xE1, b"\xff\xd9"
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Sequential and progressive, Huffman coded; TensorFlow reads no others."""
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_TEXTS_WITH_ORIENTATION = re.compile(rb"Raw profile type |XML:com\.adobe\.xmp\0")
_PACKED = {
    b"zTXt": re.compile(rb"[^\0]*\0\0"),
    b"iCCP": re.compile(rb"[^\0]*\0\0"),
    b"iTXt": re.compile(rb"[^\0]*\0\x01\0[^\0]*\0[^\0]*\0"),
}
"""What stands before the packed part of a PNG's chunk."""
_MOST_METADATA = 1 << 20
"""Bytes of a plain PNG's text and colour profile, unpacked; programs refuse more."""
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
        if data.startswith(JPEG):
            return _look_at_jpeg(data)
        return _look_at_png(data) if data.startswith(PNG) else None
    except (struct.error, IndexError):  # cut off
        return None


def _look_at_jpeg(data: bytes) -> Plain | None:
    frame: Plain | None = None
    exifs, last = 0, 2
    for marker, start, end in jpeg_segments(data):
        if start - 4 != last:
            return None
        last = end
        if marker == SCAN:
            # Pillow refuses a JPEG without an end, TensorFlow fills up some.
            return frame if exifs <= 1 and data.rfind(_END, end) >= 0 else None
        if marker in _FRAMES and frame is None:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, start)
            if bits != 8 or samples not in (1, 3) or not width * height:
                return None
            frame = Plain("jpeg", width, height, samples)
        elif marker in _FRAMES or marker in _OTHER_FRAMES:
            return None
        elif marker == _APP1:
            exifs += data.startswith(EXIF, start)  # Pillow joins several
            if _is_turned(data, start, end):
                return None
    return None


def _is_turned(data: bytes, start: int, end: int) -> bool:
    """Says whether a segment of metadata may ask for turning."""
    if data.startswith(EXIF, start):
        return not is_upright(data[start + len(EXIF) : end])
    return data.startswith(XMP, start) and xmp_orientation(data[start:end]) in TURNED


def _look_at_png(data: bytes) -> Plain | None:
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    if data[8:16] != b"\0\0\0\x0dIHDR" or bits > 8 or kind not in _SAMPLES:
        return None
    if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE:
        return None
    metadata = 0
    for name, start, end in png_chunks(data):
        if name == b"IEND":
            return Plain("png", width, height, _SAMPLES[kind])
        if name == b"tRNS" or (name == b"IHDR" and start != 16):
            return None
        if name == b"eXIf" and not is_upright(data[start:end].removeprefix(EXIF)):
            return None
        if name in _TEXTS and _TEXTS_WITH_ORIENTATION.match(data, start, end):
            return None
        if name in _TEXTS or name in _PACKED:
            metadata += _unpacked_size(name, data, start, end, _MOST_METADATA - metadata)
            if metadata > _MOST_METADATA:
                return None
    return None


def _unpacked_size(name: bytes, data: bytes, start: int, end: int, most: int) -> int:
    """Bytes of a chunk once it is unpacked, which is done for at most one more than `most`."""
    packed = _PACKED[name].match(data, start, end) if name in _PACKED else None
    if packed is None:
        return end - start
    try:
        return len(zlib.decompressobj().decompress(data[packed.end() : end], most + 1))
    except zlib.error:
        return end - start
