"""Checking and normalising single images; TensorFlow reads all that passes."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from common.images.errors import BadImage
from common.images.pixels import check_image
from components.example_gen.digest import Unreadable, read_file

pytestmark = pytest.mark.quick

H, W = 24, 32


def picture(mode="RGB"):
    """Smooth, so that lossy formats stay close."""
    y, x = np.mgrid[:H, :W]
    pixels = np.stack([x * 8, y * 10, 255 - x * 4 - y * 4], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(fmt, mode="RGB", image=None, **options):
    out = io.BytesIO()
    (image or picture(mode)).save(out, fmt, **options)
    return out.getvalue()


def rotated_jpeg(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded("JPEG", exif=exif, quality=95)


def translucent():
    image = picture("RGBA")
    image.putalpha(0)
    return image


def grey16():
    return Image.fromarray((np.mgrid[:H, :W][1] * 2000).astype(np.uint16))


def animation():
    return encoded("GIF", "P", save_all=True, append_images=[picture("L").convert("P")])


def partial_gif():
    """A GIF whose only frame is smaller than its canvas."""
    data = bytearray(encoded("GIF", "P"))
    data[6:10] = struct.pack("<HH", W + 8, H + 8)
    return bytes(data)


UNCHANGED = {
    "jpeg": (lambda: encoded("JPEG"), "jpeg", 3),
    "progressive jpeg": (lambda: encoded("JPEG", progressive=True), "jpeg", 3),
    "grey jpeg": (lambda: encoded("JPEG", "L"), "jpeg", 1),
    "mpo": (lambda: encoded("MPO", save_all=True, append_images=[picture()]), "jpeg", 3),
    "png": (lambda: encoded("PNG"), "png", 3),
    "grey png": (lambda: encoded("PNG", "L"), "png", 1),
    "black and white png": (lambda: encoded("PNG", "1"), "png", 1),
    "palette png": (lambda: encoded("PNG", "P"), "png", 3),
}
NORMALISED = {
    "rotated": (lambda: rotated_jpeg(6), "jpeg", "rotated"),
    "cmyk jpeg": (lambda: encoded("JPEG", "CMYK"), "jpeg", "CMYK"),
    "webp": (lambda: encoded("WEBP", quality=95), "jpeg", "webp"),
    "lossless webp": (lambda: encoded("WEBP", lossless=True), "png", "webp"),
    "avif": (lambda: encoded("AVIF", quality=95), "jpeg", "avif"),
    "tiff": (lambda: encoded("TIFF"), "png", "tiff"),
    "ppm": (lambda: encoded("PPM"), "png", "ppm"),
    "tga": (lambda: encoded("TGA"), "png", "tga"),
    "16-bit png": (lambda: encoded("PNG", image=grey16()), "png", "16-bit"),
    "16-bit tiff": (lambda: encoded("TIFF", image=grey16()), "png", "tiff"),
    "rgba png": (lambda: encoded("PNG", image=translucent()), "png", "transparency"),
    "grey and alpha png": (lambda: encoded("PNG", "LA"), "png", "transparency"),
    "palette png with transparency": (
        lambda: encoded("PNG", "P", transparency=3),
        "png",
        "transparency",
    ),
    "gif": (lambda: encoded("GIF", "P"), "png", "gif"),
    "grey gif": (lambda: encoded("GIF", "L"), "png", "gif"),
    "transparent gif": (lambda: encoded("GIF", image=translucent()), "png", "gif"),
    "animated gif": (animation, "png", "gif"),
    "partial gif": (partial_gif, "png", "gif"),
    "bmp": (lambda: encoded("BMP"), "png", "bmp"),
    "palette bmp": (lambda: encoded("BMP", "P"), "png", "bmp"),
    "rgba bmp": (lambda: encoded("BMP", "RGBA"), "png", "bmp"),
}


def check(data):
    return check_image(data, max_pixels=10_000)


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)


@pytest.mark.parametrize("name", UNCHANGED)
def test_passes_unchanged(name):
    make, kind, channels = UNCHANGED[name]
    data = make()
    image = check(data)
    assert image.encoded is data and image.normalised is None
    assert (image.format, image.width, image.height, image.channels) == (kind, W, H, channels)


@pytest.mark.parametrize("name", NORMALISED)
def test_is_normalised(name):
    make, kind, reason = NORMALISED[name]
    image = check(make())
    assert (image.format, image.normalised) == (kind, reason)
    with Image.open(io.BytesIO(image.encoded)) as again:
        assert again.format == kind.upper() and again.size == (image.width, image.height)
        assert again.mode in ("L", "RGB") and not again.getexif()
        assert image.channels == len(again.getbands())


@pytest.mark.usefixtures("heavy")
def test_tensorflow_decodes_everything_that_passes_to_the_same_pixels():
    import tensorflow as tf

    for name, (make, *_) in (UNCHANGED | NORMALISED).items():
        image = check(make())
        decoded = tf.io.decode_image(image.encoded, channels=3).numpy()
        assert decoded.shape == (image.height, image.width, 3), name
        # JPEG decoders differ by their inverse cosine transform's rounding.
        tolerance = 8 if image.format == "jpeg" else 0
        assert np.abs(decoded - decode(image.encoded)).max() <= tolerance, name


@pytest.mark.usefixtures("heavy")
def test_tensorflow_decodes_whatever_damage_passes():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    refused = accepted = 0
    for fmt, mode in (("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "P"), ("GIF", "P"), ("BMP", "RGB")):
        data = encoded(fmt, mode)
        damaged = [data[: len(data) - cut] for cut in range(1, 40)]
        for _ in range(80):
            flipped = bytearray(data)
            flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            damaged.append(bytes(flipped))
        for sample in damaged:
            try:
                image = check(sample)
            except BadImage:
                refused += 1
                continue
            accepted += 1
            tf.io.decode_image(image.encoded, channels=3)
    assert refused > 100 and accepted > 100


def test_rotation_is_applied():
    image = check(rotated_jpeg(6))
    assert (image.width, image.height) == (H, W)
    assert np.abs(decode(image.encoded) - np.rot90(np.asarray(picture(), int), -1)).mean() < 4


def test_transparent_parts_become_white():
    image = check(encoded("PNG", image=translucent()))
    assert (decode(image.encoded) == 255).all()


def test_16_bit_grey_is_scaled_not_clipped():
    image = check(encoded("PNG", image=grey16()))
    assert (decode(image.encoded)[..., 0] == np.mgrid[:H, :W][1] * 2000 // 256).all()


def test_animated_gif_becomes_its_first_frame():
    assert np.abs(decode(check(animation()).encoded) - decode(encoded("GIF", "P"))).max() == 0


def damage(data, position):
    data = bytearray(data)
    data[position] ^= 1
    return bytes(data)


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND\xaeB`\x82"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not an image at all", "not-an-image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image"),
        (encoded("JPEG")[:-40], "truncated"),
        (encoded("JPEG")[:-2], "truncated"),
        (encoded("PNG")[:-1], "truncated"),
        (encoded("PNG")[:-20], "truncated"),
        (encoded("BMP")[:-200], "truncated"),
        (damage(encoded("PNG"), -14), "damaged"),
        (encoded("GIF", "P")[:-200], "truncated"),
        (png_header(30_000, 30_000), "too-large"),
        (png_header(101, 100), "too-large"),
        (encoded("TIFF", image=Image.new("F", (4, 4))), "unsupported-depth"),
    ],
)
def test_bad_images(data, reason):
    with pytest.raises(BadImage) as e:
        check(data)
    assert e.value.reason == reason


def test_unreadable_files(tmp_path):
    os.symlink("nowhere", tmp_path / "dangling.jpg")
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    os.mkdir(tmp_path / "directory.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {}
    for name in ("dangling", "loop", "directory", "pipe", "absent", "nul\0"):
        with pytest.raises(Unreadable) as e:
            read_file(os.fsencode(tmp_path / f"{name}.jpg"))
        reasons[name] = e.value.reason
    assert reasons == {
        "dangling": "missing",
        "loop": "unreadable",
        "directory": "directory",
        "pipe": "not-a-file",
        "absent": "missing",
        "nul\0": "unreadable",
    }
