"""What a file says beside its picture is no reason to lose the picture, nor the memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from odd_images import (
    LOSSY,
    ORIENTATION,
    chunk,
    encode,
    exif,
    png,
    smooth,
    tags,
    tiff,
    with_segments,
    xmp,
)
from PIL import Image

from common.images.bare import lay_bare
from common.images.errors import BadImage
from common.images.pixels import check_image, normalise
from common.images.plain import look

pytestmark = pytest.mark.quick

PICTURE = smooth()
STORED = np.ascontiguousarray(np.rot90(PICTURE, 1))
"""Shown upright by the orientation 6."""
GREY = PICTURE[..., 0]


def check(data):
    checked = check_image(data, max_pixels=10_000)
    assert normalise(data, max_pixels=10_000) == checked
    return checked


def shown(data):
    return np.asarray(Image.open(io.BytesIO(check(data).encoded)).convert("RGB"), int)


SIX = (ORIENTATION, 3, 1, struct.pack("<H", 6))
TAGS = {
    "a resolution in words": [(282, 2, 9, b"very fine")],
    "a resolution in letters": [(282, 2, 4, b"abc\0"), (283, 2, 4, b"abc\0"), (296, 3, 1, b"\3\0")],
    "a program that is a fraction": [(305, 5, 1, struct.pack("<II", 1, 2))],
    "a negative resolution": [(282, 10, 1, struct.pack("<ii", -72, 1))],
    "a resolution of nothing by nothing": [(282, 5, 1, bytes(8)), (283, 5, 1, bytes(8))],
    "a resolution that is not there": [(282, 5, 1, b""), (283, 5, 0, b"")],
    "a tag of an unknown type": [(40_000, 99, 1, b"")],
    "a value beyond the end": [(305, 2, 1 << 30, struct.pack("<I", 1 << 31))],
    "Exif that is nowhere": [(34665, 4, 1, struct.pack("<I", 1 << 30))],
    "GPS that are a text": [(34853, 2, 3, b"no\0")],
}


def with_exif(kind, odd):
    plain = (STORED.astype(np.uint16), 2, 8)
    if kind == "jpeg":
        jpeg = encode("JPEG", STORED, quality=97, subsampling=0)
        return with_segments(jpeg, (0xE1, b"Exif\0\0" + odd))
    if kind == "png":
        return png(*plain, (b"eXIf", odd))
    if kind == "png, raw profile":
        found = b"Exif\0\0" + odd
        text = b"\nexif\n%8d\n%s\n" % (len(found), found.hex().encode())
        return png(*plain, (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    prefix = b"Exif\0\0" if kind == "webp with a prefix" else b""
    return encode("WEBP", STORED, lossless=True, exif=prefix + odd)


@pytest.mark.parametrize("kind", ["jpeg", "png", "png, raw profile", "webp", "webp with a prefix"])
@pytest.mark.parametrize("odd", TAGS.values(), ids=TAGS)
def test_a_photo_is_turned_whatever_else_its_exif_says(kind, odd):
    data = with_exif(kind, tags(SIX, *odd))
    assert np.abs(shown(data) - PICTURE).max() <= (LOSSY if kind == "jpeg" else 0)
    assert b"Exif" not in check(data).encoded and b"eXIf" not in check(data).encoded


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_an_orientation_of_another_type_turns_too(kind):
    value = struct.pack({1: "<B", 3: "<H", 4: "<I"}[kind], 6)
    assert (shown(with_exif("png", tags((ORIENTATION, kind, 1, value)))) == PICTURE).all()


@pytest.mark.parametrize("odd", TAGS.values(), ids=TAGS)
def test_a_tiff_is_turned_whatever_its_other_tags_say(odd):
    grey = np.ascontiguousarray(np.rot90(GREY, 1))
    data = tiff(grey, 8, 1)
    (count,) = struct.unpack_from("<H", data, 8)
    own = [struct.unpack_from("<HHI4s", data, 10 + 12 * i) for i in range(count)]
    taken = {tag for tag, *_ in odd}
    pixels = data[-grey.size :]
    entries = [e for e in own if e[0] not in {273, *taken}] + [SIX, *odd]
    place = len(tags(*entries)) + 12
    entries.append((273, 4, 1, struct.pack("<I", place)))
    assert (shown(tags(*entries) + pixels)[..., 0] == GREY).all()


def test_an_avif_is_turned_whatever_its_exif_says():
    """By its own property, which the Exif that Pillow is given here was made into."""
    given = Image.Exif()
    given[ORIENTATION], given[305] = 6, "a program"
    data = encode("AVIF", STORED, quality=99, exif=given)
    odd = data.replace(struct.pack("<HHI", 305, 2, 10), struct.pack("<HHI", 282, 2, 10))
    odd = odd.replace(struct.pack(">HHI", 305, 2, 10), struct.pack(">HHI", 282, 2, 10))
    assert odd != data
    assert np.abs(shown(odd) - PICTURE).max() <= LOSSY


@pytest.mark.parametrize(
    "text",
    [xmp(6), xmp(6).replace(b'="6"', b"='6'"), b"<tiff:Orientation>6</tiff:Orientation>"],
)
def test_xmp_turns_in_every_way_to_write_it(text):
    data = png(STORED.astype(np.uint16), 2, 8, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text))
    assert (shown(data) == PICTURE).all()


def test_exif_wins_over_xmp_and_upright_files_are_not_coded_again():
    jpeg = encode("JPEG", PICTURE, quality=97)
    both = with_segments(jpeg, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6)), (0xE1, exif(1)))
    checked = check(both)
    assert (checked.encoded, checked.normalised) == (jpeg, "metadata")


LONG = zlib.compress(bytes(3 << 20))
LARGE = {
    "packed text": (b"zTXt", b"mxfile\0\0" + LONG),
    "packed Unicode text": (b"iTXt", b"workflow\0\1\0\0\0" + LONG),
    "Unicode text": (b"iTXt", b"workflow\0\0\0\0\0" + b"x" * (2 << 20)),
    "text": (b"tEXt", b"prompt\0" + b"x" * (2 << 20)),
    "colour profile": (b"iCCP", b"p\0\0" + LONG),
    "an orientation and no end": (b"zTXt", b"Raw profile type exif\0\0" + LONG),
    "XMP and no end": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
}


@pytest.mark.parametrize("where", ["before the pixels", "after them"])
@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE)
def test_a_png_loses_large_metadata_and_keeps_its_pixels(large, where):
    plain = (PICTURE.astype(np.uint16), 2, 8)
    data = png(*plain, large) if where == "before the pixels" else png(*plain, last=[large])
    checked = check(data)
    assert (checked.encoded, checked.normalised) == (png(*plain), "metadata")


def test_a_png_keeps_metadata_that_are_small():
    data = png(PICTURE.astype(np.uint16), 2, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(99_999))))
    assert check(data).encoded is data


def test_metadata_that_are_damaged_are_not_the_picture():
    data = png(np.dstack([PICTURE, GREY]).astype(np.uint16), 6, 8, (b"tEXt", b"a\0hello"))
    broken = data.replace(b"hello", b"jello")
    assert (shown(broken) == shown(data)).all()


def peak(data):
    tracemalloc.start()
    try:
        check(data)
    except BadImage:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def _overlapping(count, size, first=40_000):
    """A directory of tags that all have the same large value."""
    entries = b"".join(struct.pack("<HHII", first + i, 7, size, 8) for i in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + bytes(size)


def test_small_files_fill_no_memory():
    overlapping = _overlapping(5000, 50_000)
    bomb = (b"zTXt", b"a\0\0" + zlib.compress(bytes(8 << 20)))
    files = [
        overlapping,
        _overlapping(5000, 50_000, first=254),
        tags((34665, 4, 1, struct.pack("<I", 26))) + overlapping,
        encode("WEBP", PICTURE, exif=overlapping),
        encode("AVIF", PICTURE, exif=overlapping),
        png(PICTURE.astype(np.uint16), 2, 16, (b"eXIf", overlapping)),
        png(PICTURE.astype(np.uint16), 2, 16, *[bomb] * 20, last=[bomb] * 20),
    ]
    for data in files:
        assert peak(data) < 10 * len(data) + (4 << 20)


def test_bare_files_are_the_same_where_there_is_nothing_to_leave_out():
    for data in (encode("GIF", PICTURE), png(PICTURE.astype(np.uint16), 2, 8)):
        assert lay_bare(data).data is data


def test_a_chunk_that_only_looks_needed_is_left_to_pillow():
    data = png(PICTURE.astype(np.uint16), 2, 8)
    odd = data[:33] + chunk(b"QQQq", b"") + data[33:]
    assert look(odd) is None and (shown(odd) == PICTURE).all()
