"""From image files of every kind to the pixels of training, without a server."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from odd_images import (
    XMP,
    all_kinds,
    chunk,
    encode,
    exif,
    lossless_jpeg,
    png,
    smooth,
    with_segments,
    xmp,
)
from PIL import Image

from common.images.errors import BadImage
from common.images.pixels import check_image, normalise
from common.images.plain import look
from common.images.segments import png_chunks

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


WHOLE = png(smooth().astype(np.uint16), 2, 8)


def header(data, at, value):
    """A PNG with a changed byte of its header, whose checksum is right."""
    changed = bytearray(data[16:29])
    changed[at] = value
    return data[:8] + chunk(b"IHDR", bytes(changed)) + data[33:]


NOT_TENSORFLOWS = {
    "lossless": lossless_jpeg(smooth()[..., 0]),
    "a marker among the pixels": JPEG[:-40] + b"\xff\xee\xff\xff" + JPEG[-40:],
    "packed in an unknown way": header(WHOLE, 10, 1),
    "a chunk of an odd name": WHOLE[:33] + chunk(b"e\xc9If", b"") + WHOLE[33:],
}


@pytest.mark.parametrize("data", NOT_TENSORFLOWS.values(), ids=NOT_TENSORFLOWS)
def test_what_only_pillow_reads_is_written_anew(data):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        tensorflow_pixels(data)
    checked = check(data)
    assert checked.normalised
    assert tensorflow_pixels(checked.encoded).shape == (checked.height, checked.width, 3)


def test_a_png_with_more_pixels_than_its_header_says_is_written_anew():
    checked = check(header(WHOLE, 7, 15))
    assert checked.normalised and (pixels(checked.encoded) == smooth()[:15]).all()


def test_a_png_with_fewer_pixels_than_its_header_says_is_truncated():
    """Pillow makes the others black."""
    with pytest.raises(BadImage) as e:
        check(header(WHOLE, 7, 20))
    assert e.value.reason == "truncated"


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("size", [(1_000_001, 1), (1, 1_000_001)])
def test_no_side_is_longer_than_tensorflow_reads(form, size):
    data = encode(form, Image.new("1", size))
    for read in (check_image, normalise):
        with pytest.raises(BadImage) as e:
            read(data, max_pixels=10**7)
        assert e.value.reason == "too-large" and "1,000,000 a side" in e.value.detail
    checked = check_image(encode(form, Image.new("1", (1_000_000, 1))), max_pixels=10**7)
    assert tensorflow_pixels(checked.encoded).shape == (1, 1_000_000, 3)


def test_what_is_too_long_for_a_jpeg_becomes_png():
    data = encode("JPEG2000", Image.new("RGB", (65_600, 1)))
    checked = check_image(data, max_pixels=10**7)
    assert (checked.format, checked.width) == ("png", 65_600)


@pytest.mark.slow
def test_whatever_damage_passes_is_decoded_by_the_transform_graph():
    """As the mutations of a fuzzer, with the checksums of PNGs put right."""
    from functools import partial

    import tensorflow as tf

    from components import transform

    graph = tf.function(
        partial(transform.decode, height=8, width=8, resize="stretch")
    ).get_concrete_function(tf.TensorSpec([], tf.string))
    rng = np.random.default_rng(0)
    samples = [*PLAIN.values(), *ODD.values(), *NOT_TENSORFLOWS.values()]
    passed = 0
    for _ in range(20_000):
        data = bytearray(samples[rng.integers(len(samples))])
        for at in rng.integers(min(len(data), 700), size=rng.integers(1, 4)):
            data[at] = rng.integers(256)
        if data.startswith(b"\x89PNG"):
            chunks = list(png_chunks(bytes(data)))
            data[8:] = b"".join(chunk(name, bytes(data[s:e])) for name, s, e in chunks)
        try:
            checked = check(bytes(data))
        except BadImage:
            continue
        passed += 1
        graph(tf.constant(checked.encoded))
    assert passed > 2000


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


@pytest.mark.parametrize("format_", ["TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "PNG"])
def test_a_file_that_is_cut_off_is_truncated(format_):
    whole = encode(format_, np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    with pytest.raises(BadImage) as e:
        check(whole[: len(whole) // 2])
    assert e.value.reason == "truncated"
