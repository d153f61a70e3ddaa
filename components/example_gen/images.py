"""Checking one encoded image, and normalising what TensorFlow cannot read.

JPEGs and PNGs that TensorFlow's decoder reads to the same pixels pass
unchanged; all others that Pillow reads become JPEG (lossy sources) or PNG.
GIF and BMP are among the others, although TensorFlow reads most of them: it
refuses some that Pillow reads, takes a BMP's palette for grey, and gives GIFs
another shape.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# fmt: off
_READABLE = [
    "JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA",
]
# fmt: on
"""Pillow's formats that are tried: no vector formats or programs (EPS).
JPEG includes MPO, the JPEGs of phones that hold several pictures."""
_LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"})
_ORIENTATION = 0x0112

# Pillow warns of images that `max_pixels` judges anyway.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class BadImage(Exception):
    """An image that cannot be used; `reason` and `detail` as in `Quarantined`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedImage:
    """An image that TensorFlow decodes; sizes are those of `encoded`, in pixels."""

    encoded: bytes
    format: str
    """"jpeg" or "png"."""
    width: int
    height: int
    channels: int
    """1 (grey) or 3."""
    normalised: str | None
    """Why the bytes differ from the original's, such as "rotated"; None: same."""


def check_image(data: bytes, *, max_pixels: int) -> CheckedImage:
    """Decodes an image once, fully, and normalises it where needed.

    Raises:
      BadImage: empty, truncated, too large (by its header, undecoded), or not
        an image.
    """
    if not data:
        raise BadImage("empty", "0 bytes")
    # Pillow's own guard covers sizes that show only while decoding.
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=_READABLE) as image:
            _check_size(image, max_pixels)
            image.load()
            _check_size(image, max_pixels)
            reason = _reason(image, data)
            return _normalise(image, data, reason) if reason else _unchanged(image, data)
    except BadImage:
        raise
    except Image.DecompressionBombError as e:
        raise BadImage("too-large", str(e)) from None
    except UnidentifiedImageError:
        raise BadImage("not-an-image", "no image format that Pillow reads") from None
    except Exception as e:
        # Pillow's decoders raise whatever broken bytes lead them to: OSError,
        # SyntaxError, ValueError, struct.error, MemoryError and more.
        detail = str(e) or type(e).__name__
        raise BadImage("truncated" if "truncated" in detail else "undecodable", detail) from None


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise BadImage("too-large", f"{image.width}×{image.height} pixels, at most {max_pixels}")


def _reason(image: Image.Image, data: bytes) -> str | None:
    """Why a decoded image must be normalised, or None."""
    if image.format not in ("JPEG", "MPO", "PNG"):
        return str(image.format).lower()
    if image.format == "PNG":
        _check_png(data)
        if data[24] == 16:
            return "16-bit"
    if image.has_transparency_data:
        return "transparency"
    if image.mode not in ("L", "RGB", "P", "1"):
        return image.mode
    return "rotated" if _orientation(image) != 1 else None


def _check_png(data: bytes) -> None:
    """Raises BadImage for damage that Pillow overlooks and libpng does not."""
    position, kind = 8, b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise BadImage("truncated", "the PNG has no end")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        checksum = struct.pack(">I", zlib.crc32(memoryview(data)[position + 4 : end - 4]))
        # An upper-case first letter: the chunk is needed to decode the image.
        if kind[0] & 0x20 == 0 and data[end - 4 : end] != checksum:
            reason = "truncated" if end > len(data) else "damaged"
            raise BadImage(reason, f"the PNG's {kind.decode('latin-1')} chunk")
        position = end


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata of a sound image: as if it had none
        return 1
    return value if value in range(2, 9) else 1


def _unchanged(image: Image.Image, data: bytes) -> CheckedImage:
    return CheckedImage(
        encoded=data,
        format="png" if image.format == "PNG" else "jpeg",
        width=image.width,
        height=image.height,
        channels=1 if image.mode in ("L", "1") else 3,
        normalised=None,
    )


def _normalise(image: Image.Image, data: bytes, reason: str) -> CheckedImage:
    lossy = image.format in _LOSSY and b"VP8L" not in data[:65536]
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    plain = _to_8_bit(image)
    out = io.BytesIO()
    if lossy:
        plain.save(out, "JPEG", quality=95, subsampling=0)
    else:
        plain.save(out, "PNG")
    return CheckedImage(
        encoded=out.getvalue(),
        format="jpeg" if lossy else "png",
        width=plain.width,
        height=plain.height,
        channels=1 if plain.mode == "L" else 3,
        normalised=reason,
    )


def _to_8_bit(image: Image.Image) -> Image.Image:
    """The image as 8-bit grey or RGB; transparent parts become white."""
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 where scaling is meant.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise BadImage(
            "unsupported-depth", f"mode {image.mode}: 32-bit samples have no agreed range"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
