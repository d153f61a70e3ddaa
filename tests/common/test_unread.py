"""What is said of files that are not read: their own names, and what to do."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers import python
from odd_images import LOSSY, encode, exif, png, smooth
from PIL import Image

from common.images.errors import BadImage
from common.images.pixels import check_image

pytestmark = pytest.mark.quick

PICTURE = smooth(64, 96)
HEIC = encode("HEIF", PICTURE, quality=95)
WITHOUT_HEIF = """
import sys
sys.modules["pillow_heif"] = None
from common.images.errors import BadImage
from common.images.pixels import FORMATS, check_image
assert "HEIC" not in FORMATS
try:
    check_image(open(sys.argv[1], "rb").read(), max_pixels=10_000)
except BadImage as e:
    print(e)
"""


def said_of(data):
    with pytest.raises(BadImage) as e:
        check_image(data, max_pixels=10_000)
    return str(e.value)


@pytest.mark.parametrize("turned", [False, True])
def test_an_heic_is_read_upright_and_becomes_a_jpeg(turned):
    stored = np.ascontiguousarray(np.rot90(PICTURE, 1)) if turned else PICTURE
    data = encode("HEIF", stored, quality=95, exif=exif(6 if turned else 1))
    checked = check_image(data, max_pixels=10_000)
    assert (checked.format, checked.normalised) == ("jpeg", "heif")
    found = np.asarray(Image.open(io.BytesIO(checked.encoded)), int)
    assert np.abs(found - PICTURE).max() <= LOSSY


def test_an_heic_that_is_too_large_is_not_decoded():
    with pytest.raises(BadImage) as e:
        check_image(HEIC, max_pixels=1000)
    assert e.value.reason == "too-large"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (HEIC, "HEIC"),
        (HEIC.replace(b"heic", b"hevx"), "HEIC"),
        (HEIC.replace(b"heic", b"mif1"), "HEIF"),
    ],
)
def test_an_heic_is_named_with_the_remedy_where_it_is_not_read(tmp_path, data, name):
    (tmp_path / "photo.jpg").write_bytes(data)
    done = python("-c", WITHOUT_HEIF, str(tmp_path / "photo.jpg"))
    assert done.stdout.startswith(f"heic: an {name} photo: install pillow-heif"), done
    assert "visionline[heic]" in done.stdout and "convert it to JPEG" in done.stdout


def test_a_broken_heic_is_not_said_to_be_missing_a_reader():
    assert said_of(HEIC[:200]).startswith("undecodable: an HEIC that cannot be read")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(smooth().astype(np.uint16), 2, 8)[:30], "undecodable: a PNG file"),
        (b"\xff\xd8\xff\xe0 broken", "truncated: "),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "undecodable: a TIFF file"),
        (b"II*\0\x08\0\0\0\x09", "truncated: the TIFF's directory"),
        (b"\n<!DOCTYPE html><html>404", "not-an-image: a web page"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'>", "not-an-image: an SVG drawing"),
        (b"%PDF-1.4 and more", "not-an-image: a PDF document"),
        (b"8BPS\0\1", "not-an-image: a Photoshop file"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "not-an-image: a JPEG XL file"),
        (b"\0\0\0\x18ftypisom\0\0\2\0", "not-an-image: a video"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "not-an-image: a Git LFS pointer"),
        (b"path,label\na.jpg,cat\n", "not-an-image: a text"),
        (bytes(64), "not-an-image: no image format"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_image_is_named(data, words):
    assert said_of(data).startswith(words)
