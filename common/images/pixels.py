"""From an image file's bytes to those whose pixels a model sees, wherever it is asked.

Ingestion, `visionline predict`, every protocol of the server, infra validation and the
request log ask here.  A plain file (`common.images.plain`) is used as it is; every other that
Pillow reads is turned upright by its metadata, put on white where it is transparent, and
becomes an 8-bit JPEG (lossy sources) or PNG.  That is done for GIF and BMP too, although
TensorFlow reads most of them: it refuses some that Pillow reads, takes a BMP's palette
for grey, and gives GIFs another shape.  Colour profiles are left aside everywhere.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from common.images import deep
from common.images.bare import SMALL, Bare, has_metadata, lay_bare
from common.images.errors import BadImage
from common.images.exif import TURNED, exif_orientation, xmp_orientation
from common.images.plain import DEPTH, MAX_SIDE, Plain, look
from common.images.png_pixels import has_all_pixels
from common.images.segments import png_chunks
from common.images.unread import why_unread

# fmt: off
READABLE = [
    "JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA",
]
# fmt: on
"""Pillow's formats that are tried: no vector formats or programs (EPS).
JPEG includes MPO, the JPEGs of phones that hold several pictures."""
FORMATS = "JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, JPEG 2000, PPM or TGA"
"""The same, for people."""
with suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    READABLE.append("HEIF")
    FORMATS = FORMATS.replace("AVIF", "AVIF, HEIC")
_LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000"})
_LONGEST_JPEG = 65_500
"""Of its sides; what is longer becomes PNG."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By orientation."""
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_PARTS = ((273, 279), (324, 325))
"""A TIFF's tags of where its strips and its tiles are, and of their bytes."""

# `open_image` judges sizes, by a limit that Pillow's, the same for all threads, cannot be.
Image.MAX_IMAGE_PIXELS = None
# Of metadata that are broken: they count as absent.
warnings.filterwarnings("ignore", module=r"PIL\.")


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
    bits: int | None = None
    """Bits of the largest sample of a file of 16 bits a sample; None: it is none."""


def normalise(data: bytes, *, max_pixels: int, depth: int = DEPTH) -> CheckedImage:
    """Returns the image as a model sees it; a plain file is not decoded, so it may be broken.

    Raises:
      BadImage: as `check_image`, of a file that is not plain.
    """
    return _plain(data) or check_image(data, max_pixels=max_pixels, depth=depth)


def check_image(data: bytes, *, max_pixels: int, depth: int = DEPTH) -> CheckedImage:
    """Decodes an image once, fully, and normalises it where needed.

    Args:
      depth: bits that the samples of files of 16 bits have.

    Raises:
      BadImage: empty, truncated, too large (by its header, undecoded), or not
        an image.
    """
    if len(data) < SMALL and (found := _plain(data)) and _is_sound(found, max_pixels):
        return found
    with _opened(data, max_pixels) as (image, file):
        picture = deep.load(image, file.data, depth)
        _check_size(image, max_pixels)
        if image.format == "PNG":
            _check_png(file.data)
            _scale_transparent_colour(picture.image, file.data[24], depth)
        found = _plain(data) or _stripped(file)
        if found and (found.format == "jpeg" or has_all_pixels(file.data)):
            return found
        return _written_anew(image, file, picture)


def _is_sound(found: CheckedImage, max_pixels: int) -> bool:
    """Says whether a plain JPEG without metadata is decoded; False: it takes a closer look.

    Pillow's decoder is given the file at once: of small images, opening them takes thrice as long.
    """
    size = found.width, found.height
    if found.format != "jpeg" or has_metadata(found.encoded) or math.prod(size) > max_pixels:
        return False
    mode = "L" if found.channels == 1 else "RGB"
    decoder = Image._getdecoder(mode, "jpeg", (mode, ""))
    decoder.setimage(Image.new(mode, size, None).im, (0, 0, *size))
    used, error = decoder.decode(found.encoded)
    return bool(used < 0 <= error)


@contextmanager
def open_image(data: bytes, *, max_pixels: int) -> Iterator[Image.Image]:
    """Opens an image file without its metadata, undecoded; what fails within is a BadImage too.

    Raises:
      BadImage: see `check_image`.
    """
    with _opened(data, max_pixels) as (image, _):
        yield image


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[tuple[ImageFile.ImageFile, Bare]]:
    if not data:
        raise BadImage("empty", "0 bytes")
    image = None
    try:
        file = lay_bare(data)
        with Image.open(io.BytesIO(file.data), formats=READABLE) as image:
            _check_size(image, max_pixels)
            yield image, file
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise why_unread(data, READABLE) from None
    except Exception as e:
        # Pillow's decoders raise whatever broken bytes lead them to: OSError,
        # SyntaxError, ValueError, struct.error, MemoryError and more.
        detail = str(e) or type(e).__name__
        cut_off = "truncated" in detail.lower() or _is_cut_off(data, image)
        raise BadImage("truncated" if cut_off else "undecodable", detail) from None


def _is_cut_off(data: bytes, image: Image.Image | None) -> bool:
    """Says whether a file ends before it says that it does; of JPEG 2000, TIFF and WebP."""
    if image is not None and image.format == "JPEG2000":
        return not data.endswith(b"\xff\xd9")
    if data[:4] == b"RIFF":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    tags = getattr(image, "tag_v2", {})
    ends = (
        offset + count
        for offsets, counts in _PARTS
        for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
    )
    return max(ends, default=0) > len(data)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if tags := getattr(image, "tag_v2", None):
        tile = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
        # A tile is decoded whole, however small the image.
        if all(isinstance(side, int) for side in tile) and tile[0] * tile[1] > width * height:
            width, height = tile
    if width * height > max_pixels:
        raise BadImage("too-large", f"{width}×{height} pixels, at most {max_pixels}")
    if max(width, height) > MAX_SIDE:
        raise BadImage("too-large", f"{width}×{height} pixels, at most {MAX_SIDE:,} a side")


def _check_png(data: bytes) -> None:
    """Raises BadImage for damage that Pillow overlooks and libpng does not."""
    name, last = b"", 8
    for name, start, end in png_chunks(data):
        last = end + 4
        checksum = struct.pack(">I", zlib.crc32(memoryview(data)[start - 4 : end]))
        # An upper-case first letter: the chunk is needed to decode the image.
        if name[0] & 0x20 == 0 and data[end:last] != checksum:
            reason = "truncated" if last > len(data) else "damaged"
            raise BadImage(reason, f"the PNG's {name.decode('latin-1')} chunk")
    if name != b"IEND":
        raise BadImage("truncated", "the PNG has no end")


def _plain(data: bytes) -> CheckedImage | None:
    return _used(data, look(data), None)


def _stripped(file: Bare) -> CheckedImage | None:
    """The file without its metadata, if they alone keep it from being plain."""
    plain = None if file.orientation in TURNED else look(file.data)
    return _used(file.data, plain, "metadata")


def _used(data: bytes, plain: Plain | None, normalised: str | None) -> CheckedImage | None:
    if plain is None:
        return None
    return CheckedImage(
        encoded=data,
        format=plain.format,
        width=plain.width,
        height=plain.height,
        channels=plain.channels,
        normalised=normalised,
    )


def _orientation(image: Image.Image, file: Bare) -> int:
    """The orientation that an opened image asks for, 1 to 8; 1, upright, where it says nothing."""
    if file.orientation is not None:
        return file.orientation
    found = exif_orientation(image.info.get("exif") or b"")
    return xmp_orientation(image.info.get("xmp") or b"") or 1 if found is None else found


def _reason(image: Image.Image, file: Bare) -> str:
    """Says why a decoded image is not plain."""
    if image.format not in ("JPEG", "MPO", "PNG"):
        return str(image.format).lower()
    if image.format == "PNG" and file.data[24] == 16:
        return "16-bit"
    if image.has_transparency_data:
        return "transparency"
    if image.mode not in ("L", "RGB", "P", "1"):
        return image.mode
    return "rotated" if file.orientation in TURNED else "headers"


def to_png(pixels_HW3: npt.NDArray[np.uint8]) -> bytes:
    """Writes pixels as a file that is decoded to the same ones."""
    out = io.BytesIO()
    Image.fromarray(pixels_HW3).save(out, "PNG")
    return out.getvalue()


def _written_anew(image: Image.Image, file: Bare, picture: deep.Picture) -> CheckedImage:
    reason = _reason(image, file)
    lossy = image.format in _LOSSY and b"VP8L" not in file.data[:65536]
    turn = _TURNS.get(_orientation(image, file))
    plain = _on_white(picture.image)
    if turn is not None:
        plain = plain.transpose(turn)
    plain.info = {}  # no metadata: what they ask for is done
    lossy = lossy and max(plain.size) <= _LONGEST_JPEG
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
        bits=picture.used,
    )


def _scale_transparent_colour(image: Image.Image, bits: int, depth: int) -> None:
    """Pillow scales a PNG's samples to 8 bits, and leaves the colour that is transparent."""
    colour = image.info.get("transparency")
    if isinstance(colour, int) and image.mode == "L":
        image.info["transparency"] = colour * 255 // ((1 << bits) - 1)
    elif isinstance(colour, tuple) and bits == 16:
        image.info["transparency"] = tuple(deep.to_8_bits(np.array(colour), depth).tolist())


def _on_white(image: Image.Image) -> Image.Image:
    """Returns the image as grey or RGB; transparent parts become white."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
