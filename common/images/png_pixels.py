"""Whether a PNG's packed pixels are as many as its header says.

Pillow fills up what is missing and leaves what is too much; TensorFlow's libpng refuses both.
"""

from __future__ import annotations

import struct
import zlib

from common.images.errors import BadImage
from common.images.segments import png_chunks

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_ADAM7 += [(0, 1, 1, 2)]
"""First column and row, and steps, of the passes of an interlaced picture."""
_PIECE = 1 << 20
"""Bytes that are unpacked at a time."""


def has_all_pixels(data: bytes) -> bool:
    """Unpacks the pixels, which takes half as long as decoding; False: there are more.

    Raises:
      BadImage: there are fewer.
    """
    expected, found = _size(data), 0
    unpacker = zlib.decompressobj()
    try:
        for name, start, end in png_chunks(data):
            packed = data[start:end] if name == b"IDAT" else b""
            while packed and found <= expected:
                found += len(unpacker.decompress(packed, _PIECE))
                packed = unpacker.unconsumed_tail
    except zlib.error:
        return False
    if found < expected:
        raise BadImage("truncated", f"the PNG has {found:,} bytes of pixels, of {expected:,}")
    return unpacker.eof and found == expected and not unpacker.unused_data


def _size(data: bytes) -> int:
    """Bytes of the unpacked pixels, each row with the byte of its filter."""
    width, height, bits, kind, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    passes = _ADAM7 if interlace else [(0, 0, 1, 1)]
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    pixel = bits * _SAMPLES[kind]
    return sum(rows * (1 + -(-columns * pixel // 8)) for columns, rows in sizes if columns > 0)
