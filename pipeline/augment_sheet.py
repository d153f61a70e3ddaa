"""Pictures of what augmentation does to some images: a row each, the original first."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from common.errors import ConfigError, DataError
from common.files import walk_files
from common.images.errors import BadImage
from common.images.pixels import check_image
from common.images.plain import MAX_PIXELS
from pipeline.config import TransformConfig
from trainers.augment.draw import draw
from trainers.augment.reference import apply
from trainers.config import AugmentConfig
from trainers.contract import Images, Mix

_ROWS = 8
_GAP = 8
_CAPTION = 14
_SIDE = 96
"""Smaller images are enlarged to about this many pixels a side."""
_PAPER = (128, 128, 128)
"""Neutral, so that dark and bright pictures both show their edges."""


def read_images(path: Path, transform: TransformConfig) -> Images:
    """Reads an image, or the first few of a folder, at the size of the training.

    Raises:
      ConfigError: there is nothing of that name, or no image in the folder.
      DataError: the file is no image that a run would read.
    """
    if not path.exists():
        raise ConfigError(f"Expected an image or a folder of images, found nothing at '{path}'.")
    if not path.is_dir():
        try:
            return _pixels(path, transform)[None]
        except (BadImage, OSError) as e:
            raise DataError(
                f"Expected an image that a run would read, got '{path}': {e}."
            ) from None
    images: list[Images] = []
    for file in sorted(walk_files(path)):
        try:
            images.append(_pixels(file, transform))
        except (BadImage, OSError):
            continue  # `visionline data` tells of those.
        if len(images) == _ROWS:
            break
    if not images:
        raise ConfigError(f"Expected images in the folder '{path}', found none.")
    return np.stack(images)


def sheet(images_NHW3: Images, config: AugmentConfig, *, count: int, seed: int) -> bytes:
    """Returns a PNG of the images and of `count` draws: the first batch of so many epochs."""
    columns: list[tuple[Images, Mix | None]] = [(images_NHW3, None)]
    index_N = np.arange(len(images_NHW3))
    for epoch in range(1, count + 1):
        rng = np.random.default_rng([seed, epoch, 1])
        images, augmentation = draw(config, rng, images_NHW3, index_N, epoch=epoch, seed=seed)
        mix = augmentation.mix if augmentation else None
        pixels = images if augmentation is None else apply(images, augmentation)
        columns.append((np.rint(pixels).astype(np.uint8), mix))
    out = io.BytesIO()
    _grid(columns).save(out, "PNG")
    return out.getvalue()


def _pixels(file: Path, transform: TransformConfig) -> Images:
    height, width = transform.size
    checked = check_image(file.read_bytes(), max_pixels=MAX_PIXELS)
    with Image.open(io.BytesIO(checked.encoded)) as opened:
        image = opened.convert("RGB")
    bilinear = Image.Resampling.BILINEAR
    if transform.resize == "crop":
        image = ImageOps.fit(image, (width, height), bilinear)
    elif transform.resize == "pad":
        image = ImageOps.pad(image, (width, height), bilinear)
    else:
        image = image.resize((width, height), bilinear)
    return np.asarray(image)


def _grid(columns: Sequence[tuple[Images, Mix | None]]) -> Image.Image:
    rows, height, width, _ = columns[0][0].shape
    larger = max(1, round(_SIDE / min(height, width)))
    size = width * larger, height * larger
    across, down = size[0] + _GAP, size[1] + _GAP + _CAPTION
    paper = Image.new("RGB", (_GAP + across * len(columns), _GAP + down * rows), _PAPER)
    pen = ImageDraw.Draw(paper)
    for column, (images, mix) in enumerate(columns):
        for row, pixels in enumerate(images):
            corner = _GAP + column * across, _GAP + row * down
            image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
            paper.paste(image, corner)
            text = f"{row + 1}" if not column else _caption(mix, row, (height, width))
            pen.text((corner[0], corner[1] + size[1] + 1), text, fill="white")
    return paper


def _caption(mix: Mix | None, row: int, image_size: tuple[int, int]) -> str:
    if mix is None:
        return ""
    own = mix.own(image_size)
    return f"{own:.0%} {row + 1}, {1 - own:.0%} {mix.partner_N[row] + 1}"
