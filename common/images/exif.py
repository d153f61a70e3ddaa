"""Exif and TIFF tags: the orientation that an image asks for, and tags that are traps."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from common.images.errors import BadImage
from common.images.segments import jpeg_segments

if TYPE_CHECKING:
    from PIL import Image

EXIF = b"Exif\0\0"
_SHORT = 3
"""The type of an orientation."""
_ORIENTATION = 0x0112
TURNED = range(2, 9)
"""Orientations that are not upright."""
_RAW_PROFILE = "Raw profile type exif"
_LONGEST_PROFILE = 1 << 17
"""Characters, two a byte: as long as Exif in a JPEG can be."""
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a TIFF tag's value by its type."""
_DIRECTORIES = {34665, 34853, 40965}
"""Tags that lead to further ones: Exif, GPS, interoperability."""


def is_upright(exif: bytes) -> bool:
    """Whether metadata (a TIFF) surely ask for no turning."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order = "<" if exif[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == _ORIENTATION and ((kind, values) != (_SHORT, 1) or value in TURNED):
            return False
    return True


def orientation(image: Image.Image) -> int:
    """The orientation that an opened image asks for, 1 to 8; 1, upright, where it says nothing.

    Raises:
      BadImage: see `check_tags`.
    """
    check_tags((image.info.get("exif") or b"").removeprefix(EXIF))
    if len(image.info.get(_RAW_PROFILE, "")) > _LONGEST_PROFILE:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata of a sound image: as if it had none
        return 1


def check_tags(data: bytes) -> None:
    """Raises BadImage for metadata whose values overlap.

    Pillow reads each as it opens a file, so that a small one would fill the memory.
    """
    if data.startswith(b"\xff\xd8"):
        segments = (data[start:end] for _, start, end in jpeg_segments(data))
        data = b"".join(s.removeprefix(EXIF) for s in segments if s.startswith(EXIF))
    is_avif = data[4:8] == b"ftyp"  # anywhere in it
    headers = _TIFF.finditer(data) if is_avif else filter(None, [_TIFF.match(data)])
    for header in headers:
        try:
            total = _size_of_tags(data, header.start(), 2 * len(data))
        except struct.error:  # cut off, or no metadata after all
            continue
        if total > 2 * len(data):
            raise BadImage("damaged", "the values of its metadata overlap")


def _size_of_tags(data: bytes, start: int, most: int) -> int:
    """Bytes of the values in the directories of a TIFF, as far as that is at most `most`."""
    order = "<" if data[start] == ord("I") else ">"
    is_big = b"+" in data[start : start + 4]
    offset, count = (struct.Struct(f"{order}{c}") for c in ("QQ" if is_big else "IH"))
    entry = struct.Struct(f"{order}HH{'QQ' if is_big else 'II'}")
    total, seen = 0, set()
    directories = [offset.unpack_from(data, start + (8 if is_big else 4))[0]]
    while directories and total <= most:
        at = start + directories.pop()
        if at in seen or at == start:
            continue
        seen.add(at)
        (tags,) = count.unpack_from(data, at)
        at += count.size
        for _ in range(tags):
            tag, kind, values, value = entry.unpack_from(data, at)
            total += entry.size + _SIZES.get(kind, 0) * values
            at += entry.size
            if tag in _DIRECTORIES:
                directories.append(value)
            if total > most:
                break
        else:
            directories += offset.unpack_from(data, at)
    return total
