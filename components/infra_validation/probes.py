"""Image files of every odd kind: what people upload, and the examples of a split no longer show.

Examples are normalised, so a server that answers about other pixels than the model was
trained on answers all of them rightly.  It is asked about raw files too.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, features

from common.images.pixels import check_image, open_image
from common.images.plain import DEPTH, MAX_PIXELS
from components.infra_validation.sample import Example
from modelstore.raw_example import serialise

_SIDE = 96
"""Pixels of a probe's longer side: to be sent often, and still show something."""
_ORIENTATION = 0x0112
_NEEDS = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}


@dataclass(frozen=True, slots=True)
class Probe:
    kind: str
    """In words, such as "a CMYK JPEG"."""
    raw: Example
    """The file as somebody has it."""
    normalised: Example
    """As ingestion makes it, and as the model was trained."""


def make_probes(example: Example, depth: int = DEPTH) -> list[Probe]:
    """Makes a file of each kind, with an example's image in it.

    Kinds that this Pillow cannot write are left out: ingestion could not read them either.

    Args:
      depth: of the model's `ModelCard`.
    """
    with open_image(example.encoded, max_pixels=sys.maxsize) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    probes = []
    for kind, (form, change, options) in _KINDS.items():
        if form not in _NEEDS or features.check(_NEEDS[form]):
            out = io.BytesIO()
            change(picture).save(out, form, **options)
            raw = out.getvalue()
            normalised = check_image(raw, max_pixels=MAX_PIXELS, depth=depth).encoded
            of_both = (_example(data, example.label) for data in (raw, normalised))
            probes.append(Probe(kind, *of_both))
    return probes


def _example(data: bytes, label: str) -> Example:
    serialised = serialise(
        encoded=data,
        format="",
        path=b"",
        sha256="",
        width=0,
        height=0,
        channels=0,
        size=len(data),
        label=None,
        extra={},
    )
    return Example(serialised=serialised, encoded=data, label=label, pixels=_SIDE * _SIDE)


def _same(picture: Image.Image) -> Image.Image:
    return picture


def _see_through(picture: Image.Image) -> Image.Image:
    """Makes one half transparent, with another half of another image in it."""
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, picture.width, (picture.height + 1) // 2))
    changed = Image.merge("RGB", [band.point(lambda v: v // 2) for band in picture.split()])
    changed.putalpha(alpha)
    return changed


def _grey_16(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def _palette(picture: Image.Image) -> Image.Image:
    return picture.quantize(32)


def _turned(orientation: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return {"exif": exif}


_Change = Callable[[Image.Image], Image.Image]
_KINDS: dict[str, tuple[str, _Change, dict[str, Any]]] = {
    **{f"a JPEG with the EXIF orientation {n}": ("JPEG", _same, _turned(n)) for n in range(2, 9)},
    "a PNG with the EXIF orientation 6": ("PNG", _same, _turned(6)),
    "a WebP with the EXIF orientation 3": ("WEBP", _same, _turned(3)),
    "a PNG with transparency": ("PNG", _see_through, {}),
    "a grey PNG with transparency": ("PNG", lambda p: _see_through(p).convert("LA"), {}),
    "a palette PNG with a transparent colour": ("PNG", _palette, {"transparency": 0}),
    "a PNG with a transparent colour": ("PNG", _same, {"transparency": (0, 0, 0)}),
    "a 16-bit PNG": ("PNG", _grey_16, {}),
    "a CMYK JPEG": ("JPEG", lambda p: p.convert("CMYK"), {}),
    "a palette BMP": ("BMP", _palette, {}),
    "a BMP": ("BMP", _same, {}),
    "a GIF with a transparent colour": ("GIF", _palette, {"transparency": 0}),
    "a WebP": ("WEBP", _same, {}),
    "a lossless WebP with transparency": ("WEBP", _see_through, {"lossless": True}),
    "a TIFF": ("TIFF", _same, {}),
    "a 16-bit TIFF": ("TIFF", _grey_16, {}),
    "an AVIF": ("AVIF", _same, {}),
    "a JPEG 2000": ("JPEG2000", _same, {}),
    "a PPM": ("PPM", _same, {}),
    "a TGA": ("TGA", _same, {}),
}
"""By words: Pillow's format, what is made of an RGB picture, and options of saving."""
