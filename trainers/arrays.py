"""The arrays of a split, as files: `images_NHW3.npy` (uint8) and `labels_N.npy` (int64)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError
from common.files import atomic_file

IMAGES = "images_NHW3.npy"
LABELS = "labels_N.npy"


def write(
    target: Path,
    shape: tuple[int, int, int],
    batches: Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]],
    *,
    name: str,
) -> None:
    """Writes batches of pixels and labels as they come, however many there are.

    Args:
      target: an existing folder.
      shape: height, width and channels of an image.
      name: of the split, for errors.

    Raises:
      DataError: there is no image; then nothing is left.
    """
    labels: list[NDArray[np.int64]] = []
    with atomic_file(target / IMAGES) as out:
        _header(out, (0, *shape))
        for pixels, label_N in batches:
            labels.append(label_N)
            out.write(pixels.tobytes())
        if not (written := sum(map(len, labels))):
            raise DataError(f"The split {name!r} has no image to train or validate on.")
        # NumPy pads the header so that the first axis can grow in place.
        out.seek(0)
        _header(out, (written, *shape))
    with atomic_file(target / LABELS) as out:
        np.save(out, np.concatenate(labels))


def _header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
