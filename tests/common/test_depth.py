"""Samples of more than 8 bits, kinds of grey, and what has no agreed black and white."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from odd_images import encode, png, smooth, tiff
from PIL import Image

from common.images.errors import BadImage
from common.images.pixels import check_image

pytestmark = pytest.mark.quick

PICTURE = smooth()
GREY = PICTURE[..., 0]
ALPHA = np.full(GREY.shape, 255, np.uint8)


def check(data, depth=16):
    return check_image(data, max_pixels=10_000, depth=depth)


def shown(data, depth=16):
    return np.asarray(Image.open(io.BytesIO(check(data, depth).encoded)), int)


def grey_of(data, depth=16):
    found = shown(data, depth)
    return found if found.ndim == 2 else found[..., 0]


def wide(samples, bits=16):
    """Samples of 8 bits as so many, in 16."""
    return (samples.astype(np.uint16) * 257) >> (16 - bits)


def pgm(samples, most, plain=False):
    head = b"%s\n%d %d\n%d\n" % (b"P2" if plain else b"P5", *samples.shape[::-1], most)
    if plain:
        return head + b" ".join(b"%d" % v for v in samples.ravel()) + b"\n"
    return head + samples.astype(">u2").tobytes()


def ppm(samples):
    height, width, _ = samples.shape
    return b"P6\n%d %d\n65535\n" % (width, height) + samples.astype(">u2").tobytes()


GREYS = {
    "png": lambda bits: png(wide(GREY, bits), 0, 16),
    "tiff": lambda bits: tiff(wide(GREY, bits), 16, 1),
    "big-endian tiff": lambda bits: tiff(wide(GREY, bits), 16, 1, little=False),
    "packed tiff": lambda bits: encode("TIFF", wide(GREY, bits), compression="tiff_lzw"),
    "pgm": lambda bits: pgm(wide(GREY, bits), 65535),
    "pgm in digits": lambda bits: pgm(wide(GREY, bits), 65535, plain=True),
}
COLOURS = {
    "png": lambda bits: png(wide(PICTURE, bits), 2, 16),
    "png with alpha": lambda bits: png(wide(np.dstack([PICTURE, ALPHA]), bits), 6, 16),
    "grey png with alpha": lambda bits: png(wide(np.dstack([GREY, ALPHA]), bits), 4, 16),
    "ppm": lambda bits: ppm(wide(PICTURE, bits)),
}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", GREYS)
def test_grey_of_fewer_bits_in_16_is_read_by_the_depth(kind, bits):
    data = GREYS[kind](bits)
    assert (grey_of(data, depth=bits) == GREY).all()
    assert check(data).bits == int(wide(GREY, bits).max()).bit_length()
    assert (grey_of(data) == wide(GREY, bits) >> 8).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", COLOURS)
def test_colours_of_fewer_bits_in_16_are_read_by_the_depth(kind, bits):
    data = COLOURS[kind](bits)
    expected = np.repeat(GREY[..., None], 3, 2) if "grey" in kind else PICTURE
    assert (shown(data, depth=bits) == expected).all()
    assert check(data).bits == bits


def test_samples_beyond_the_depth_are_white():
    samples = np.array([[0, 4095, 4096, 65535]], np.uint16)
    assert shown(png(samples, 0, 16), depth=12).tolist() == [[0, 255, 255, 255]]


def test_a_transparent_colour_is_found_at_every_depth():
    samples = wide(PICTURE, 12)
    for depth in (12, 16):
        data = png(samples, 2, 16, (b"tRNS", struct.pack(">3H", *samples[3, 4])))
        assert (shown(data, depth)[3, 4] == 255).all()


@pytest.mark.parametrize("most", [1023, 4095, 16383])
def test_a_pgm_says_its_depth_itself(most):
    samples = GREY.astype(int) * most // 255
    for depth in (8, 12, 16):
        assert np.abs(grey_of(pgm(samples, most), depth) - GREY).max() <= 1
    assert check(pgm(samples, most)).bits is None


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_a_tiff_whose_zero_is_white_is_no_negative(bits, little):
    samples = (wide(GREY) >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
    expected = samples.astype(int) * 255 // ((1 << bits) - 1)
    black, white = (tiff(samples, bits, photometric, little=little) for photometric in (1, 0))
    assert np.abs(grey_of(black) - expected).max() <= (bits > 8)
    assert (grey_of(white) == 255 - grey_of(black)).all()


def test_a_negative_of_12_bits_in_16():
    data = tiff(wide(255 - GREY, 12), 16, 0)
    assert (grey_of(data, depth=12) == GREY).all()


def planes():
    """A TIFF of 16 bits whose colours are stored one after another."""
    pixels = np.moveaxis(wide(PICTURE), -1, 0).astype("<u2").tobytes()
    size, (height, width) = len(pixels) // 3, GREY.shape
    short = {256: width, 257: height, 259: 1, 262: 2, 277: 3, 278: height, 284: 2}
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in short.items()]
    start = 8 + 2 + 12 * 10 + 4
    long = {273: [start + 32 + i * size for i in range(3)], 279: [size] * 3}
    values = struct.pack("<3H2x", 16, 16, 16)
    entries.append(struct.pack("<HHII", 258, 3, 3, start))
    for tag, numbers in long.items():
        entries.append(struct.pack("<HHII", tag, 4, 3, start + len(values)))
        values += struct.pack("<3I", *numbers)
    entries.sort(key=lambda e: struct.unpack("<H", e[:2]))
    directory = struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + directory + values + pixels


def test_planes_of_16_bits():
    assert (shown(planes()) == PICTURE).all()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (tiff(GREY.astype(np.float32), 32, 1, kind=3), "floating-point"),
        (tiff(GREY.astype(np.float32), 32, 0, kind=3), "floating-point"),
        (tiff(GREY.astype(np.int8), 8, 1, kind=2), "signed"),
        (tiff(GREY.astype(np.int16), 16, 1, kind=2), "signed"),
        (tiff(GREY.astype(np.int32), 32, 1, kind=2), "signed"),
        (tiff(GREY.astype(np.uint32), 32, 1), "32-bit"),
        (b"Pf\n2 1\n-1.0\n" + bytes(8), "floating-point"),
    ],
)
def test_what_has_no_agreed_black_and_white_is_refused_with_the_remedy(data, word):
    with pytest.raises(BadImage) as e:
        check(data)
    assert e.value.reason == "unsupported-depth"
    assert e.value.detail.startswith(word) and "8 or 16 bits" in e.value.detail


def test_a_depth_that_cannot_be_applied_is_refused():
    digits = b"P3\n2 1\n65535\n0 0 0 4095 4095 4095\n"
    assert check(digits).normalised == "ppm"
    with pytest.raises(BadImage, match=r"data\.depth"):
        check(digits, depth=12)
