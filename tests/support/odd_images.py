"""Image files of every kind that people have: formats, colour modes, and ways to turn them.

Each has the pixels that it shows, worked out here and not by what is tested.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
LOSSY = 26
"""Largest difference of a sample that lossy formats may make of a smooth picture."""
_UNTURN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, -1),
}
"""What is stored, by orientation, so that turning it shows the picture."""


@dataclass(frozen=True)
class OddImage:
    name: str
    data: bytes
    shown: Any
    """uint8 [H, W, 3]"""
    tolerance: int
    """Of a sample."""


def smooth(height: int = 16, width: int = 24) -> Any:
    """A picture without symmetries, uint8 [H, W, 3], that lossy formats hardly change."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([40 + 180 * x, 30 + 150 * y, 220 - 90 * x - 90 * y], -1).astype(np.uint8)


def encode(form: str, image: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, form, **options)
    return out.getvalue()


def exif(orientation: int, little: bool = True) -> bytes:
    """Exif with the orientation alone, with its prefix."""
    order = "<" if little else ">"
    head = b"II*\0" if little else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", ORIENTATION, 3, 1, orientation, 0)
    body = struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)
    return b"Exif\0\0" + head + body


def tags(*entries: tuple[int, int, int, bytes], little: bool = True) -> bytes:
    """A TIFF, as Exif is one too, of a directory: tag, type, count and value of each entry."""
    order, head = ("<", b"II*\0") if little else (">", b"MM\0*")
    directory, values = b"", b""
    start = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        place = struct.pack(f"{order}I", start + len(values))
        values += value if len(value) > 4 else b""
        directory += struct.pack(f"{order}HHI", tag, kind, count)
        directory += place if len(value) > 4 else value.ljust(4, b"\0")
    return head + struct.pack(f"{order}IH", 8, len(entries)) + directory + bytes(4) + values


def tiff(samples: Any, bits: int, photometric: int, *, little: bool = True, kind: int = 1) -> bytes:
    """An uncompressed TIFF of samples [H, W], packed as its bits want; `kind`: SampleFormat."""
    order = "<" if little else ">"
    if bits in (16, 32):
        data = bytes(samples.astype(samples.dtype.newbyteorder(order)).tobytes())
    else:
        spread = (samples.astype(int)[..., None] >> np.arange(bits)[::-1]) & 1
        rows = (np.packbits(row.reshape(-1).astype(np.uint8)) for row in spread)
        data = b"".join(row.tobytes() for row in rows)
    height, width = samples.shape
    values = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    entries = [(t, 3, 1, struct.pack(f"{order}H", v)) for t, v in (values | {339: kind}).items()]
    entries.append((279, 4, 1, struct.pack(f"{order}I", len(data))))
    place = len(tags(*entries, little=little)) + 12
    entries.append((273, 4, 1, struct.pack(f"{order}I", place)))
    return tags(*entries, little=little) + data


def lossless_jpeg(grey: Any) -> bytes:
    """A lossless JPEG (SOF3) of grey [H, W]: differences from the left, in 8 bits each."""
    height, width = grey.shape
    left = np.roll(grey.astype(int), 1, 1)
    left[1:, 0], left[0, 0] = grey[:-1, 0], 128
    bits = ""
    for difference in (grey.astype(int) - left).ravel():
        size = int(abs(difference)).bit_length()
        value = difference if difference > 0 else difference + (1 << size) - 1
        bits += f"{size:04b}" + (f"{value:0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    pixels = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    table = b"\0" + bytes([0, 0, 0, 10, *[0] * 12]) + bytes(range(10))
    parts = [
        (0xC4, table),
        (0xC3, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
        (0xDA, bytes([1, 1, 0, 1, 0, 0])),
    ]
    head = b"".join(bytes([0xFF, m]) + struct.pack(">H", len(d) + 2) + d for m, d in parts)
    return b"\xff\xd8" + head + pixels.replace(b"\xff", b"\xff\0") + b"\xff\xd9"


def xmp(orientation: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: Any, kind: int, bits: int, *chunks: tuple[bytes, bytes], last: Any = ()) -> bytes:
    """A PNG of samples [H, W] or [H, W, C], written here: Pillow writes few kinds.

    Args:
      chunks: before the image data.
      last: after them.
    """
    rows = samples.reshape(len(samples), -1)
    header = struct.pack(">IIBBBBB", samples.shape[1], len(samples), bits, kind, 0, 0, 0)
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        spread = (rows[..., None] >> np.arange(bits)[::-1]) & 1
        packed = [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in spread]
    data = zlib.compress(b"".join(b"\0" + row for row in packed))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), *last, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with further segments after its first marker."""
    added = (bytes([0xFF, m]) + struct.pack(">H", len(d) + 2) + d for m, d in segments)
    return jpeg[:2] + b"".join(added) + jpeg[2:]


XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ITXT = b"XML:com.adobe.xmp\0\0\0\0\0"
_RAW = b"Raw profile type exif\0"


def _raw_profile(orientation: int) -> bytes:
    found = exif(orientation)
    return b"\nexif\n%8d\n%s\n" % (len(found), found.hex().encode())


def turned() -> Iterator[OddImage]:
    """Every orientation in every format and place that may have one."""
    picture = smooth()
    grey = np.repeat(picture[..., :1], 3, 2)
    half = np.full(picture.shape[:2], 255, np.uint8)
    half[:5] = 0
    on_white = np.where(half[..., None] == 0, 255, picture).astype(np.uint8)
    for n in range(1, 9):
        stored = np.ascontiguousarray(_UNTURN[n](picture))
        clear = np.ascontiguousarray(_UNTURN[n](np.dstack([picture, half])))
        jpeg = encode("JPEG", stored, quality=97, subsampling=0)
        tiff = {ORIENTATION: n}
        plain = (stored.astype(np.uint16), 2, 8)
        files = {
            "jpeg": (encode("JPEG", stored, quality=97, exif=exif(n)), picture, LOSSY),
            "jpeg, big endian": (with_segments(jpeg, (0xE1, exif(n, False))), picture, LOSSY),
            "jpeg, xmp": (with_segments(jpeg, (0xE1, XMP + xmp(n))), picture, LOSSY),
            "jpeg, exif and xmp": (
                with_segments(jpeg, (0xE1, XMP + xmp(9 - n)), (0xE1, exif(n))), picture, LOSSY
            ),
            "grey jpeg": (encode("JPEG", stored[..., 0], quality=97, exif=exif(n)), grey, LOSSY),
            "cmyk jpeg": (
                encode("JPEG", Image.fromarray(stored).convert("CMYK"), quality=97, exif=exif(n)),
                picture, LOSSY,
            ),
            "mpo": (
                encode("MPO", Image.fromarray(stored), quality=97, exif=exif(n), save_all=True,
                       append_images=[Image.fromarray(stored)]),
                picture, LOSSY,
            ),
            "png": (encode("PNG", stored, exif=exif(n)), picture, 0),
            "png, exif after the pixels": (png(*plain, last=[(b"eXIf", exif(n)[6:])]), picture, 0),
            "png, xmp": (png(*plain, (b"iTXt", _ITXT + xmp(n))), picture, 0),
            "png, raw profile": (
                png(*plain, (b"zTXt", _RAW + b"\0" + zlib.compress(_raw_profile(n)))), picture, 0
            ),
            "transparent png": (encode("PNG", clear, exif=exif(n)), on_white, 0),
            "webp": (encode("WEBP", stored, quality=99, exif=exif(n)), picture, LOSSY),
            "lossless webp": (encode("WEBP", stored, lossless=True, exif=exif(n)), picture, 0),
            "transparent webp": (
                encode("WEBP", clear, lossless=True, exact=True, exif=exif(n)), on_white, 0
            ),
            "tiff": (encode("TIFF", stored, tiffinfo=tiff), picture, 0),
            "transparent tiff": (encode("TIFF", clear, tiffinfo=tiff), on_white, 0),
            "packed tiff": (
                encode("TIFF", stored, tiffinfo=tiff, compression="tiff_lzw"), picture, 0
            ),
            "avif": (encode("AVIF", stored, quality=99, exif=exif(n)), picture, LOSSY),
        }  # fmt: skip
        for name, (data, shown, tolerance) in files.items():
            yield OddImage(f"{name} {n}", data, shown, tolerance)


def coloured() -> Iterator[OddImage]:
    """Every colour mode of every format."""
    picture = smooth()
    image = Image.fromarray(picture)
    grey = picture[..., 0]
    grey3 = np.repeat(grey[..., None], 3, 2)
    alpha = np.linspace(0, 255, grey.size).reshape(grey.shape).astype(np.uint8)
    blended = np.asarray(_on_white(np.dstack([picture, alpha])))
    grey_blended = np.asarray(_on_white(np.dstack([grey3, alpha])))
    few = image.quantize(16)
    few_shown = np.asarray(few.convert("RGB"))
    gone = np.where(np.asarray(few)[..., None] == 3, 255, few_shown).astype(np.uint8)
    wide, wide_grey = picture.astype(np.uint16) * 257, grey.astype(np.uint16) * 257
    black = np.where(grey > 127, 255, 0).astype(np.uint8)
    black3 = np.repeat(black[..., None], 3, 2)
    colour = tuple(int(v) for v in picture[3, 4])
    hidden = np.where((picture == colour).all(-1)[..., None], 255, picture).astype(np.uint8)
    grey_hidden = np.where(grey3 == grey[3, 4], 255, grey3).astype(np.uint8)
    yield OddImage("rgb jpeg", encode("JPEG", image, quality=97, keep_rgb=True), picture, LOSSY)
    yield OddImage("progressive jpeg", encode("JPEG", image, progressive=True), picture, LOSSY)
    yield OddImage("cmyk tiff", encode("TIFF", image.convert("CMYK")), picture, LOSSY)
    see_through = np.dstack([picture, alpha])
    yield OddImage("jpeg 2000", encode("JPEG2000", image), picture, LOSSY)
    yield OddImage("j2k", encode("JPEG2000", image, no_jp2=True), picture, LOSSY)
    yield OddImage("transparent jpeg 2000", encode("JPEG2000", see_through), blended, LOSSY)
    files = {
        "bmp": (encode("BMP", image), picture),
        "palette bmp": (encode("BMP", few), few_shown),
        "grey bmp": (encode("BMP", grey), grey3),
        "black and white bmp": (encode("BMP", Image.fromarray(black).convert("1")), black3),
        "dib": (encode("DIB", image), picture),
        "gif": (encode("GIF", few), few_shown),
        "grey gif": (encode("GIF", grey), grey3),
        "transparent gif": (encode("GIF", few, transparency=3), gone),
        "animated gif": (encode("GIF", few, save_all=True, append_images=[few.rotate(180)]),
                         few_shown),
        "ppm": (encode("PPM", image), picture),
        "pgm": (encode("PPM", grey), grey3),
        "pbm": (encode("PPM", Image.fromarray(black).convert("1")), black3),
        "tga": (encode("TGA", image), picture),
        "transparent tga": (encode("TGA", np.dstack([picture, alpha])), blended),
        "packed tga": (encode("TGA", image, compression="tga_rle"), picture),
        "animated webp": (encode("WEBP", image, lossless=True, save_all=True,
                                 append_images=[image.rotate(180)]), picture),
        "tiff, grey": (encode("TIFF", grey), grey3),
        "tiff, palette": (encode("TIFF", few), few_shown),
        "tiff, black and white": (encode("TIFF", Image.fromarray(black).convert("1")), black3),
        "tiff, 16 bits": (encode("TIFF", Image.fromarray(wide_grey)), grey3),
        "tiff, two pages": (encode("TIFF", image, save_all=True,
                                   append_images=[image.rotate(180)]), picture),
        "tiff, grey and alpha": (encode("TIFF", np.dstack([grey, alpha])), grey_blended),
        "png": (encode("PNG", image), picture),
        "png, animated": (encode("PNG", image, save_all=True, append_images=[image.rotate(180)]),
                          picture),
        "png, with a profile": (encode("PNG", image, icc_profile=b"not one"), picture),
        "png, rgba": (encode("PNG", np.dstack([picture, alpha])), blended),
        "png, grey and alpha": (encode("PNG", np.dstack([grey, alpha])), grey_blended),
        "png, palette": (encode("PNG", few), few_shown),
        "png, palette with a transparent colour": (encode("PNG", few, transparency=3), gone),
        "png, colour that is transparent": (encode("PNG", image, transparency=colour), hidden),
        "png, grey that is transparent": (
            encode("PNG", grey, transparency=int(grey[3, 4])), grey_hidden),
        "png, 16 bits": (png(wide, 2, 16), picture),
        "png, 16 bits, grey": (png(wide_grey, 0, 16), grey3),
        "png, 16 bits, alpha": (png(np.dstack([wide, alpha.astype(np.uint16) * 257]), 6, 16),
                                blended),
        "png, 16 bits, grey and alpha": (
            png(np.dstack([wide_grey, alpha.astype(np.uint16) * 257]), 4, 16), grey_blended),
        "png, 16 bits, grey that is transparent": (
            png(wide_grey, 0, 16, (b"tRNS", struct.pack(">H", wide_grey[3, 4]))), grey_hidden),
        "png, 16 bits, colour that is transparent": (
            png(wide, 2, 16, (b"tRNS", struct.pack(">3H", *wide[3, 4]))), hidden),
    }  # fmt: skip
    for name, (data, shown) in files.items():
        yield OddImage(name, data, shown, 1 if "transparent" in name or "alpha" in name else 0)
    for bits in (1, 2, 4):
        samples = grey.astype(np.uint16) >> (8 - bits)
        shown = np.repeat((samples * 255 // ((1 << bits) - 1))[..., None], 3, 2).astype(np.uint8)
        yield OddImage(f"png, grey, {bits} bits", png(samples, 0, bits), shown, 0)
        clear = np.where((samples == 1)[..., None], 255, shown).astype(np.uint8)
        data = png(samples, 0, bits, (b"tRNS", struct.pack(">H", 1)))
        yield OddImage(f"png, grey that is transparent, {bits} bits", data, clear, 0)
        table = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3), np.uint8)
        data = png(samples, 3, bits, (b"PLTE", table.tobytes()))
        yield OddImage(f"png, palette, {bits} bits", data, table[samples], 0)
        data = png(samples, 3, bits, (b"PLTE", table.tobytes()), (b"tRNS", b"\xff\0"))
        clear = np.where((samples == 1)[..., None], 255, table[samples]).astype(np.uint8)
        yield OddImage(f"png, palette with a transparent colour, {bits} bits", data, clear, 0)


def _on_white(rgba: Any) -> Any:
    share = rgba[..., 3:].astype(float) / 255
    return np.round(rgba[..., :3] * share + 255 * (1 - share)).astype(np.uint8)


def all_kinds() -> list[OddImage]:
    return [*turned(), *coloured()]
