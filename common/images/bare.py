"""An image file without its metadata, and the orientation that these ask for.

Pillow reads a file's metadata as it opens it.  Odd ones would make a sound picture an error,
and small ones that unpack to much, or whose values overlap, would fill the memory.  So it is
given what it decodes the picture from, and nothing else.  No pixel changes.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from common.images.errors import BadImage
from common.images.exif import EXIF, INTEGERS, ORIENTATION, XMP, exif_orientation, xmp_orientation
from common.images.segments import JPEG, PNG, SCAN, jpeg_segments, png_chunks

_NEEDED_SEGMENTS = {*range(0x00, 0xE1), 0xEE} | {*range(0xF0, 0xFE)}
"""Markers of a JPEG's picture: all but those of applications, without JFIF's and Adobe's,
which tell its colours, and of comments."""
SMALL = 1 << 14
"""Bytes of a file whose headers take longer than its pixels."""
_METADATA = re.compile(rb"\xff[\xe1-\xed\xef\xfe\xff]")
"""Markers of a JPEG's other segments, and what fills up before them."""
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_PROFILE, _PNG_XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"
_MOST_TEXT = 1 << 20
"""Bytes of a PNG's text that are searched for an orientation."""
_TIFF = re.compile(rb"(?:II|MM)(?:[*+]\0|\0[*+])")
_TAGS_OF_PICTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320),
    *(322, 323, 324, 325, 332, 334, 336, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
_TIFF_XMP = 700
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a TIFF tag's value by its type."""
_EXIF = re.compile(rb"II\*\0|MM\0\*")


@dataclass(frozen=True, slots=True)
class Bare:
    data: bytes
    """The same object as was given where there is nothing to leave out."""
    orientation: int | None
    """As asked for, which may be none that there is; None: nothing is said, or it is
    said in a place that is known once the file is opened."""


def lay_bare(data: bytes) -> Bare:
    """Leaves out the metadata of an image file.

    Raises:
      BadImage: a TIFF's directory cannot be read, or its values overlap.
    """
    if data.startswith(JPEG):
        return _bare_jpeg(data)
    if data.startswith(PNG):
        return _bare_png(data)
    if header := _TIFF.match(data):
        try:
            return _bare_tiff(data, header[0])
        except struct.error:
            raise BadImage("truncated", "the TIFF's directory") from None
    return Bare(_bare_avif(data) if data[4:8] == b"ftyp" else data, None)


def has_metadata(jpeg: bytes) -> bool:
    """Says whether a JPEG may hold anything that `lay_bare` leaves out."""
    return _METADATA.search(jpeg) is not None


def _joined(data: bytes, parts: list[tuple[int, int]]) -> bytes:
    view = memoryview(data)
    joined = b"".join(view[start:end] for start, end in parts)
    return data if len(joined) == len(data) else joined


def _bare_jpeg(data: bytes) -> Bare:
    exif, xmp = b"", b""
    kept = [(0, 2)]
    last = 2
    for marker, start, end in jpeg_segments(data):
        if marker in _NEEDED_SEGMENTS:
            kept.append((start - 4, end))
        elif data.startswith(EXIF, start):  # of several the first has the header
            exif += data[start + len(EXIF) : end]
        elif data.startswith(XMP, start):
            xmp += data[start:end]
        last = end
        if marker == SCAN:
            break
    kept.append((last, len(data)))
    return Bare(_joined(data, kept), _first(exif_orientation(exif), xmp_orientation(xmp)))


def _bare_png(data: bytes) -> Bare:
    exif = profile = xmp = b""
    kept = [(0, 8)]
    for name, start, end in png_chunks(data):
        # An upper-case first letter: the chunk is needed to decode the image.
        if name[0] & 0x20 == 0 or name == b"tRNS":
            kept.append((start - 8, end + 4))
        elif name == b"eXIf":
            exif = data[start:end]
        elif name in _TEXTS and data.startswith(_PROFILE + b"\0", start):
            profile = _text(name, data[start:end])
        elif name in _TEXTS and data.startswith(_PNG_XMP + b"\0", start):
            xmp = _text(name, data[start:end])
    asked = exif_orientation(exif), exif_orientation(_unhex(profile)), xmp_orientation(xmp)
    return Bare(_joined(data, kept), _first(*asked))


def _first(*orientations: int | None) -> int:
    return next((found for found in orientations if found is not None), 1)


def _text(name: bytes, chunk: bytes) -> bytes:
    """The text of a chunk with its keyword, as far as it is looked at."""
    rest = chunk.partition(b"\0")[2]
    packed = name == b"zTXt"
    if name == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[:2] + b"\0".join(rest[2:].split(b"\0", 2)[2:])
    start = {b"tEXt": 0, b"zTXt": 1, b"iTXt": 2}[name]
    if not packed:
        return rest[start:][:_MOST_TEXT]
    try:
        return zlib.decompressobj().decompress(rest[start:], _MOST_TEXT)
    except zlib.error:
        return b""


def _unhex(profile: bytes) -> bytes:
    """The bytes of a "raw profile": a name, a length, and lines of hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _bare_tiff(data: bytes, header: bytes) -> Bare:
    """Leaves the first directory, with the tags that describe its picture, upright."""
    order = "<" if header.startswith(b"II") else ">"
    is_big = b"+" in header
    if header[2:] == b"\0+" or (is_big and order == ">"):
        raise BadImage("undecodable", "a BigTIFF whose bytes are in big-endian order")
    offset, count = (struct.Struct(f"{order}{c}") for c in ("QQ" if is_big else "IH"))
    entry = struct.Struct(f"{order}HHQ8s" if is_big else f"{order}HHI4s")
    (at,) = offset.unpack_from(data, 8 if is_big else 4)
    (tags,) = count.unpack_from(data, at)
    kept, found, xmp, total = {}, None, b"", 0
    for here in range(at + count.size, at + count.size + tags * entry.size, entry.size):
        tag, kind, values, value = entry.unpack_from(data, here)
        if tag == ORIENTATION and values == 1 and kind in INTEGERS:
            (found,) = struct.unpack_from(order + INTEGERS[kind], value)
        elif tag == _TIFF_XMP and values > len(value):
            (start,) = offset.unpack(value)
            xmp = data[start : start + values]
        elif tag in _TAGS_OF_PICTURE and tag not in kept:
            kept[tag] = data[here : here + entry.size]
            total += _SIZES.get(kind, 0) * values
    if total > 2 * len(data):  # Pillow reads each
        raise BadImage("damaged", "the values of its tags overlap")
    directory = count.pack(len(kept)) + b"".join(kept[tag] for tag in sorted(kept)) + offset.pack(0)
    # The file's own directory is as long, or longer.
    view = memoryview(data)
    parts: list[bytes | memoryview] = [view[:at], directory, view[at + len(directory) :]]
    return Bare(b"".join(parts), _first(found, xmp_orientation(xmp)))


def _bare_avif(data: bytes) -> bytes:
    """Empties the directories of Exif, wherever they are: by it, no AVIF is turned."""
    changed: bytearray | None = None
    for header in _EXIF.finditer(data):
        order = "<" if header[0].startswith(b"II") else ">"
        try:
            at = header.start() + struct.unpack_from(f"{order}I", data, header.end())[0]
            count, _, kind = struct.unpack_from(f"{order}3H", data, at)
        except struct.error:
            continue
        if count and kind in _SIZES:
            changed = changed or bytearray(data)
            changed[at : at + 2] = bytes(2)
    return bytes(changed) if changed else data
