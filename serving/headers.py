"""How large an encoded image is, by its headers: before it is decoded."""

from __future__ import annotations

import struct
from io import BytesIO

_FORMATS = ("JPEG", "PNG", "GIF", "BMP")
_JPEG = b"\xff\xd8\xff"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG before its height and width."""
_BARE = {0x00, 0x01, *range(0xD0, 0xDB), 0xFF}
"""Markers without a length, or after which there is no frame."""
_GIF_BLOCKS = 1_000_000
"""Blocks of a GIF that are looked at; larger ones are no pictures."""


def count_pixels(encoded: bytes) -> int:
    """The pixels that decoding would make.

    Of a GIF, those of all its frames: the decoder unpacks them all, and takes the first.

    Raises:
      ValueError: it is no JPEG, PNG, GIF or BMP.
    """
    if encoded.startswith(_JPEG) and (pixels := _jpeg_pixels(encoded)):
        return pixels
    from PIL import Image

    # Pillow's own limit, of pixels, warns and raises; the server has its own.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(BytesIO(encoded), formats=_FORMATS) as image:
            pixels = image.width * image.height
            animated = image.format == "GIF"
    except Exception as e:  # Pillow has no common base for what a broken file raises
        raise ValueError(str(e)) from None
    return max(pixels, _gif_pixels(encoded)) if animated else pixels


def _jpeg_pixels(data: bytes) -> int:
    """Those of its first frame, a tenth of Pillow's time; 0 where they are not plain to see."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF and data[at + 1] not in _BARE:
        length, height, width = struct.unpack_from(">HxHH", data, at + 2)
        if data[at + 1] in _FRAMES:
            return int(height * width)
        at += 2 + length
    return 0


def _gif_pixels(data: bytes) -> int:
    """Those of all frames of a GIF; up to where it ends or breaks off.

    Raises:
      ValueError: it has more blocks than any picture.
    """
    pixels, blocks = 0, 0
    at = 13 + _table(data[10])
    while at < len(data):
        kind, at = data[at], at + 1
        if kind == 0x2C and at + 9 <= len(data):  # a frame
            width, height, flags = struct.unpack_from("<4xHHB", data, at)
            pixels += width * height
            at += 9 + _table(flags) + 1
        elif kind == 0x21:  # an extension
            at += 1
        else:
            break
        while at < len(data) and data[at]:
            at += 1 + data[at]
            blocks += 1
            if blocks > _GIF_BLOCKS:
                raise ValueError(f"more than {_GIF_BLOCKS:,} blocks")
        at += 1
    return pixels


def _table(flags: int) -> int:
    """Bytes of the colour table that is announced."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
