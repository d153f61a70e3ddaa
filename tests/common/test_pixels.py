"""From image files of every kind to the pixels of training, without a server."""

from __future__ import annotations

import io
import struct
import time

import numpy as np
import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from odd_images import XMP, all_kinds, encode, exif, png, smooth, with_segments, xmp
from PIL import Image

from common.images.errors import BadImage
from common.images.pixels import check_image, normalise
from common.images.plain import look

KINDS = {image.name: image for image in all_kinds()}
JPEG_DECODERS = 16
"""How far they are apart: the inverse transform and small colour planes are rounded otherwise."""
JPEG = encode("JPEG", smooth(), quality=95)


def check(data):
    return check_image(data, max_pixels=10_000)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)


def tensorflow_pixels(data):
    import tensorflow as tf

    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy().astype(int)


@pytest.mark.parametrize("image", KINDS.values(), ids=KINDS)
def test_every_kind_becomes_what_it_shows(image):
    checked = check(image.data)
    found = pixels(checked.encoded)
    assert found.shape == image.shown.shape == (checked.height, checked.width, 3)
    assert np.abs(found - image.shown).max() <= image.tolerance
    assert normalise(image.data, max_pixels=10_000) == checked
    again = check(checked.encoded)
    assert (again.encoded, again.normalised) == (checked.encoded, None)
    tolerance = JPEG_DECODERS if checked.format == "jpeg" else 0
    assert np.abs(tensorflow_pixels(checked.encoded) - found).max() <= tolerance


PLAIN = {
    "jpeg": JPEG,
    "grey jpeg": encode("JPEG", smooth()[..., 0]),
    "progressive jpeg": encode("JPEG", smooth(), progressive=True),
    "upright jpeg": encode("JPEG", smooth(), exif=exif(1)),
    "jpeg without an orientation": encode("JPEG", smooth(), exif=exif(0)),
    "jpeg with an orientation that is none": encode("JPEG", smooth(), exif=exif(9, False)),
    "jpeg with an upright xmp": with_segments(JPEG, (0xE1, XMP + xmp(1))),
    "jpeg with a profile": encode("JPEG", smooth(), icc_profile=bytes(100)),
    "png": encode("PNG", smooth()),
    "grey png": encode("PNG", smooth()[..., 0]),
    "palette png": encode("PNG", Image.fromarray(smooth()).quantize(9)),
    "4-bit png": png(smooth()[..., 0].astype(np.uint16) >> 4, 0, 4),
    "upright png": encode("PNG", smooth(), exif=exif(1)),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_plain_files_are_used_as_they_are_and_not_opened(data, monkeypatch):
    checked = check(data)
    assert checked.encoded is data and checked.normalised is None
    monkeypatch.setattr(Image, "open", None)
    assert normalise(data, max_pixels=10_000) == checked


ODD = {
    "broken exif": encode("JPEG", smooth(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "two exifs": with_segments(JPEG, (0xE1, exif(1)), (0xE1, exif(1))),
    "exif in two segments": with_segments(
        JPEG, (0xE1, exif(6)[:12]), (0xE1, b"Exif\0\0" + exif(6)[12:])
    ),
    "padded markers": JPEG[:2] + b"\xff\xff" + JPEG[2:],
    "a turned exif before a plain one": with_segments(JPEG, (0xE1, exif(3)), (0xE1, exif(1))),
}  # fmt: skip


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_what_is_not_plain_for_certain_is_written_anew(data):
    checked = check(data)
    assert checked.normalised and check(checked.encoded).normalised is None
    assert normalise(data, max_pixels=10_000) == checked


@pytest.mark.parametrize("cut", [1, 2, 10, 200])
def test_a_jpeg_without_its_end_is_not_plain(cut):
    assert look(JPEG[:-cut]) is None
    with pytest.raises(BadImage):
        normalise(JPEG[:-cut], max_pixels=10_000)


def _overlapping(count, size, pointer=False):
    """A TIFF of tags that all have the same large value."""
    entries = b"".join(struct.pack("<HHII", 40_000 + i, 7, size, 8) for i in range(count))
    directory = struct.pack("<H", count) + entries + bytes(4)
    if not pointer:
        return b"II*\0" + struct.pack("<I", 8) + directory + bytes(size)
    first = struct.pack("<HHHIII", 1, 34665, 4, 1, 26, 0)
    return b"II*\0" + struct.pack("<I", 8) + first + directory + bytes(size)


def test_metadata_whose_values_overlap_are_refused():
    tags = _overlapping(5000, 50_000)
    files = [
        tags,
        _overlapping(5000, 50_000, pointer=True),
        encode("WEBP", smooth(), exif=tags),
        encode("AVIF", smooth(), exif=tags),
        png(smooth().astype(np.uint16), 2, 16, (b"eXIf", tags)),
    ]
    for data in files:
        began = time.monotonic()
        with pytest.raises(BadImage):
            check(data)
        assert time.monotonic() - began < 30  # each would read 250 MB


def test_the_tiles_of_a_small_tiff_are_not_large():
    data = bytearray(encode("TIFF", smooth()))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = [bytes(data[at + 2 + 12 * i : at + 14 + 12 * i]) for i in range(count)]
    entries += [struct.pack("<HHII", tag, 4, 1, 30_000) for tag in (322, 323)]
    entries.sort(key=lambda e: struct.unpack("<H", e[:2]))
    struct.pack_into("<I", data, 4, len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    with pytest.raises(BadImage) as e:
        check(bytes(data))
    assert e.value.reason == "too-large"


MODES = {
    "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "WEBP": ["RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "TGA": ["1", "L", "LA", "P", "RGB", "RGBA"],
}


@st.composite
def files(draw):
    """A file of random pixels, and whether it may be changed at random."""
    form = draw(st.sampled_from(sorted(MODES)))
    mode = draw(st.sampled_from(MODES[form]))
    side = st.integers(1, 20)
    shape = draw(side), draw(side)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, shape, np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (*shape, 4), np.uint8)).convert(mode)
    options = {}
    if form in ("JPEG", "PNG", "WEBP") and draw(st.booleans()):
        options["exif"] = exif(draw(st.integers(0, 9)), draw(st.booleans()))
    if form == "JPEG":
        options |= {"progressive": draw(st.booleans()), "quality": draw(st.integers(1, 100))}
    data = bytearray(encode(form, image, **options))
    for _ in range(draw(st.integers(0, 2)) if draw(st.booleans()) else 0):
        data[draw(st.integers(0, min(len(data), 400) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@EXAMPLES
@given(files())
def test_any_file_is_refused_or_has_the_same_pixels_wherever_it_goes(data):
    try:
        checked = check(data)
    except BadImage:
        return
    assert (look(data) is not None) == (checked.normalised is None) == (checked.encoded is data)
    assert normalise(data, max_pixels=10_000) == checked
    again = check(checked.encoded)
    assert (again.encoded, again.normalised) == (checked.encoded, None)
    found = pixels(checked.encoded)
    assert found.shape == (checked.height, checked.width, 3)
    difference = np.abs(tensorflow_pixels(checked.encoded) - found)
    assert difference.max() <= (JPEG_DECODERS if checked.format == "jpeg" else 0)
