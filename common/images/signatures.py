"""Whether a file begins as an image does, for those whose names don't tell."""

from __future__ import annotations

import re

HEAD = 32
"""Bytes of a file that are looked at."""
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM.{4}\0\0\0\0"
    rb"|RIFF.{4}WEBP"
    rb"|II[*+]\0|MM\0[*+]"  # TIFF
    rb"|.{4}ftyp(avif|avis|mif1|msf1|hei[cfmsx]|hev[cmsx])"  # AVIF, HEIC
    rb"|\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|\0\0\0\x0cJXL \r\n|\xff\x0a"  # JPEG XL
    rb"|P[1-6]\s+[\d#]"  # PPM
    rb"|8BPS\0\1",  # Photoshop
    re.DOTALL,
)


def begins_as_image(head: bytes) -> bool:
    return _SIGNATURES.match(head) is not None
