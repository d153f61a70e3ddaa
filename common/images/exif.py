"""The orientation that an image asks for, found by a reader of that tag alone.

Cameras and programs write every other tag wrongly somewhere, so none is looked at.
"""

from __future__ import annotations

import re
import struct

EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
"""What they begin with in a JPEG."""
TURNED = range(2, 9)
"""Orientations that are not upright."""
ORIENTATION = 0x0112
SHORT = 3
"""The type of an orientation."""
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""Types that an orientation is written in all the same, and `struct`'s letters for them."""
_TIFF = re.compile(rb"(?:II|MM)(?:\*\0|\0\*)")
_IN_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([0-9])")


def is_upright(exif: bytes) -> bool:
    """Whether metadata (a TIFF) surely ask for no turning."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order = "<" if exif[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == ORIENTATION and ((kind, values) != (SHORT, 1) or value in TURNED):
            return False
    return True


def exif_orientation(exif: bytes) -> int | None:
    """What the tag of the orientation says; None: it is not there, or not readable."""
    while exif.startswith(EXIF):
        exif = exif[len(EXIF) :]
    if not _TIFF.match(exif):
        return None
    order = "<" if exif.startswith(b"II") else ">"
    found = None
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == ORIENTATION and values == 1 and kind in INTEGERS:
                (found,) = struct.unpack_from(order + INTEGERS[kind], exif, entry + 8)
    except struct.error:  # cut off; what stands before that counts
        pass
    return found


def xmp_orientation(xmp: bytes) -> int | None:
    """What XMP says of the orientation; None: nothing."""
    found = _IN_XMP.search(xmp)
    return int(found[1]) if found else None
