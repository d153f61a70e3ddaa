"""Samples of more than 8 bits: how many bits they use, and their way to 8.

A file of 16 bits a sample may hold data of 10, 12 or 14, as cameras and scanners make it.
Nothing in it says so, and one image cannot tell: it may just be dark.  So `data.depth` does,
for all images, and the report tells how many bits they use.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin

from common.images.errors import BadImage

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_MIN_IS_WHITE = 0
_NO_RANGE = {2: "signed", 3: "floating-point"}
"""A TIFF's sample formats that have no agreed black and white."""
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""By the byte order in which the high bytes are read: the one that gives the low bytes."""

# Its own way with uncompressed TIFFs reads planes of 16 bits as if they had 8, and no YCbCr.
TiffImagePlugin.READ_LIBTIFF = True
# Kinds of TIFF that Pillow knows in one byte order alone, or not as negatives.
TiffImagePlugin.OPEN_INFO |= {
    (b"MM", 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
    (b"MM", 1, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (b"II", 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (b"MM", 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image."""

    image: Image.Image
    """Of 8 bits a sample, or fewer."""
    used: int | None = None
    """Bits of the largest sample of a file of 16 bits; None: it is none."""


def load(image: ImageFile.ImageFile, data: bytes, depth: int) -> Picture:
    """Decodes an opened image, and brings its samples to 8 bits.

    Args:
      data: the file that was opened.
      depth: bits of a sample in a file of 16 bits; larger samples become white.

    Raises:
      BadImage: its samples are of a kind that has no agreed black and white.
    """
    if image.format == "JPEG":  # those of other than 8 bits are not read
        image.load()
        return Picture(image)
    _check_range(image)
    if image.format == "PPM":
        _read_high_bytes(image)
    raw_modes = {_raw_mode(tile.args) for tile in image.tile}
    is_16 = _is_16_bit(image, data)
    if image.mode == "I" or image.mode.startswith("I;16"):
        image.load()
        bits = depth if is_16 else 12 if "I;12" in raw_modes else 16
        return _grey(image, bits, is_16)
    image.load()
    if not is_16:
        return Picture(image)
    bands = image.split()
    colours = bands[:-1] if image.mode.endswith("A") else bands
    used = 8 + max(int(np.asarray(band).max()) for band in colours).bit_length()
    if depth == 16:
        return Picture(image, used)
    low = _low_bytes(data, str(image.format), raw_modes)
    samples = (
        np.asarray(h, np.uint16) << 8 | np.asarray(n) for h, n in zip(bands, low, strict=True)
    )
    merged = Image.merge(image.mode, [Image.fromarray(to_8_bits(s, depth)) for s in samples])
    merged.info = dict(image.info)
    return Picture(merged, used)


def to_8_bits(samples: npt.NDArray[np.integer], bits: int) -> npt.NDArray[np.uint8]:
    """Scales samples of so many bits; larger ones become white."""
    scaled: npt.NDArray[np.uint8] = np.minimum(samples >> (bits - 8), 255).astype(np.uint8)
    return scaled


def _check_range(image: ImageFile.ImageFile) -> None:
    tags = getattr(image, "tag_v2", {})
    kind = next((_NO_RANGE[f] for f in tags.get(_SAMPLE_FORMAT, ()) if f in _NO_RANGE), None)
    if kind is None and image.mode == "F":
        kind = "floating-point"
    if kind is None and image.mode == "I" and image.format != "PPM":
        kind = "32-bit"
    if kind:
        raise BadImage(
            "unsupported-depth",
            f"{kind} samples have no agreed black and white; save it with 8 or 16 bits, unsigned",
        )


def _raw_mode(args: object) -> str:
    """The layout of the samples that a decoder is told."""
    return str(args[0] if isinstance(args, tuple) else args)


def _is_16_bit(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether the file has samples of 16 bits, and does not say that they use fewer."""
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "PPM":
        (tile,) = image.tile
        return _raw_mode(tile.args).endswith(";16B") or (
            isinstance(tile.args, tuple) and 65535 in tile.args
        )
    return image.format == "TIFF" and max(image.tag_v2.get(_BITS, (1,))) == 16  # type: ignore[attr-defined]


def _read_high_bytes(image: ImageFile.ImageFile) -> None:
    """Has a colour PPM of 16 bits read as other files are; Pillow's own way is slow, and rounds."""
    (tile,) = image.tile
    if tile.codec_name == "ppm" and tile.args == ("RGB", 65535):
        image.tile = [tile._replace(codec_name="raw", args=("RGB;16B", 0, 1))]


def _low_bytes(data: bytes, form: str, raw_modes: set[str]) -> Sequence[Image.Image]:
    """The low bytes of each band's samples, of an image whose high bytes Pillow decodes."""
    (raw_mode,) = raw_modes
    grey = raw_mode == "LA;16B"
    other = "RGBA" if grey else raw_mode[:-1] + _OTHER_BYTE.get(raw_mode[-1], "")
    if not (grey or (";16" in raw_mode and "a" not in raw_mode)):
        raise BadImage(
            "unsupported-depth",
            f"data.depth cannot be applied to colours stored as {raw_mode}; save it as PNG",
        )
    with Image.open(io.BytesIO(data), formats=[form]) as image:
        if form == "PPM":
            _read_high_bytes(image)
        image.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in image.tile
        ]
        image.load()
        bands = image.split()
    return (bands[1], bands[1], bands[1], bands[3]) if grey else bands


def _grey(image: ImageFile.ImageFile, bits: int, is_16: bool) -> Picture:
    samples = np.asarray(image)
    grey = to_8_bits(samples, bits)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:  # type: ignore[attr-defined]
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[samples == transparent] = 255
    return Picture(Image.fromarray(grey), int(samples.max()).bit_length() if is_16 else None)
