"""Draws the random changes of a training batch; a backend only applies them.

Every geometric change is an affine map and every colour change an affine map
of (r, g, b), so a draw is small arrays whatever is enabled, and both
frameworks see the same images for the same seed.

Shape suffixes: N batch; 23, 34: rows and columns of a matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.augment import auto, colours, geometry, mixing
from trainers.config import AugmentConfig
from trainers.contract import Augmentation, Images


def draw(
    config: AugmentConfig,
    rng: np.random.Generator,
    images_NHW3: Images,
    index_N: NDArray[np.int64],
    *,
    epoch: int = 1,
    seed: int = 0,
) -> tuple[Images, Augmentation | None]:
    """Draws one change for each image of a batch (docs/augmentation.md has the order).

    Args:
      index_N: the places of the images in their split, which with `epoch` and `seed`
        decide on alternating flips; all else comes from `rng`.

    Returns:
      The images, with the changes to tones that no matrix can say, and what is left for
      the backend; None where nothing is enabled, and for each part of which nothing is.
    """
    if not config.enabled:
        return images_NHW3, None
    count, *image_size = images_NHW3.shape[:3]
    height, width = image_size
    maps = geometry.maps(config, rng, (height, width), index_N, epoch=epoch, seed=seed)
    colour_maps = colours.maps(config, rng, count)
    sharpness_N = None
    if config.auto != "none":
        drawn = auto.draw(config, rng, images_NHW3)
        images_NHW3 = drawn.images_NHW3
        maps.append(drawn.maps_N33)
        colour_maps.append(drawn.colours_N44)
        sharpness_N = drawn.sharpness_N.astype(np.float32)
    return images_NHW3, Augmentation(
        affine_N23=geometry.compose(maps)[:, :2].astype(np.float32) if maps else None,
        reflect=bool(maps) and config.fill == "reflect",
        colour_N34=colours.compose(colour_maps)[:, :3].astype(np.float32) if colour_maps else None,
        sharpness_N=sharpness_N if min(image_size) >= 3 else None,
        erase=mixing.erase(config, rng, count, (height, width)),
        mix=mixing.mix(config, rng, count, (height, width)),
    )
