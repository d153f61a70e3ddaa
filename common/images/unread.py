"""Why a file is not read: what it is instead, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PIL import Image

from common.images.errors import BadImage

_NAMED_OTHERWISE = {"TGA", "PPM"}
"""Formats that other files may seem to be."""
_OTHERS = {
    "a JPEG XL file": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a Photoshop file": rb"8BPS",
    "a web page": rb"\s*<(?:!doctype html|html|head|body)",
    "an SVG drawing": rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg",
    "a PDF document": rb"%PDF-",
    "an icon": rb"\0\0\x01\0",
    "a video": rb"....ftyp(?:isom|iso[2-9]|mp4[12]|qt  |M4V |avc1|3g)|\x1aE\xdf\xa3|RIFF....AVI ",
    "a ZIP archive": rb"PK\x03\x04",
    "a Git LFS pointer, whose file was not fetched (git lfs pull)": rb"version https://git-lfs",
    "a text": rb"[\t\n\r -~]{16}",
}
"""What people have among images, by how it begins."""


def why_unread(data: bytes, formats: Sequence[str]) -> BadImage:
    """Says what is wrong with a file that Pillow reads by none of the formats."""
    if heif := _heif_name(data):
        if "HEIF" not in formats:
            return BadImage(
                "heic",
                f"an {heif} photo: install pillow-heif (pip install 'visionline[heic]') "
                "and run again, or convert it to JPEG",
            )
        return BadImage("undecodable", f"an {heif} that cannot be read")
    beginning = data[:16].ljust(16, b"\0")  # they read that far
    for name in formats:
        accepts = Image.OPEN[name][1]
        if name not in _NAMED_OTHERWISE and accepts and accepts(beginning) is True:
            return BadImage("undecodable", f"a {name} file that is broken, or of a rare kind")
    for name, pattern in _OTHERS.items():
        if re.match(pattern, data[:1024], re.DOTALL | re.IGNORECASE):
            return BadImage("not-an-image", name)
    return BadImage("not-an-image", "no image format that Pillow reads")


def _heif_name(data: bytes) -> str | None:
    """What people call a HEIF file; None: it is none, or an AVIF."""
    if data[4:8] != b"ftyp":
        return None
    size = int.from_bytes(data[:4], "big")
    brands = {data[at : at + 4] for at in (8, *range(16, min(size, len(data), 256), 4))}
    if brands & {b"avif", b"avis"}:
        return None
    if any(brand[:3] in (b"hei", b"hev") for brand in brands):
        return "HEIC"
    return "HEIF" if brands & {b"mif1", b"msf1"} else None
