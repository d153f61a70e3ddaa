"""Images or arrays in a folder, for trainings outside of the pipeline.

FOLDER/CLASS/…                       images, of which a share is for validation
FOLDER/train/CLASS/…, FOLDER/val/…   images, split already
FOLDER/train/images_NHW3.npy, …      arrays, as `trainers.arrays` writes them
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError
from common.files import walk_files
from common.images.errors import BadImage
from common.images.pixels import check_image
from common.images.plain import MAX_PIXELS
from common.images.resized import Pixels, Resize, decode
from common.process.cpus import available_cpus
from trainers import arrays

CLASS_NAMES = "class_names.txt"
"""Beside the arrays: one a line, beginning with that of label 0."""
_TRAIN = ("train", "Split-train")
_VAL = ("val", "validation", "valid", "Split-val")
_SHOWN = 3
"""Images that cannot be used and are named."""
_AT_ONCE = 256
"""Images whose pixels wait to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A train and a val split, as folders of arrays."""

    train: Path
    val: Path
    class_names: tuple[str, ...]


def find_arrays(folder: Path) -> Found | None:
    """Returns what `write_arrays`, ArrayGen or someone else wrote, if a folder has that.

    Raises:
      DataError: there are more labels than names.
    """
    train, val = _split(folder, _TRAIN), _split(folder, _VAL)
    if not (train and val and (train / arrays.IMAGES).is_file()):
        return None
    try:
        labels = [np.load(split / arrays.LABELS) for split in (train, val)]
    except (OSError, ValueError) as e:
        raise DataError(f"{folder}: expected {arrays.LABELS} beside each images: {e}") from None
    least = min(int(each.min(initial=0)) for each in labels)
    count = max(int(each.max(initial=-1)) for each in labels) + 1
    names = folder / CLASS_NAMES
    text = names.read_text("utf-8").removesuffix("\n") if names.is_file() else ""
    class_names = tuple(text.split("\n")) if text else tuple(map(str, range(count)))
    if least < 0 or count > len(class_names):
        raise DataError(
            f"{folder}: expected labels of 0 to {len(class_names) - 1}, places among the lines of "
            f"{CLASS_NAMES}; got {least if least < 0 else count - 1}."
        )
    return Found(train=train, val=val, class_names=class_names)


def write_arrays(
    folder: Path,
    target: Path,
    *,
    image_size: tuple[int, int],
    resize: Resize,
    val_fraction: float,
    seed: int,
    say: Callable[[str], None],
) -> Found:
    """Decodes all images of class folders, once, into arrays.

    Args:
      target: made; gets a folder for each split, and the class names.
      val_fraction: of the images, by hash of seed and content, so that copies stay together;
        not used where the folder has train/ and val/.
      say: is told what is done and left out.

    Raises:
      DataError: there are no two classes, or no image in a split.
    """
    splits, class_names = _listed(folder, val_fraction, seed)
    target.mkdir(parents=True)
    (target / CLASS_NAMES).write_text("".join(f"{name}\n" for name in class_names), "utf-8")
    for split, images in splits.items():
        bad: list[str] = []
        (target / split).mkdir()
        batches = _decoded(images, image_size, resize, bad)
        arrays.write(target / split, (*image_size, 3), batches, name=split)
        say(f"{split}: {len(images) - len(bad):,} images of {len(class_names)} classes")
        if bad:
            more = "" if len(bad) <= _SHOWN else f" and {len(bad) - _SHOWN} more"
            say(f"{split}: left out {'; '.join(bad[:_SHOWN])}{more}")
    return Found(train=target / "train", val=target / "val", class_names=class_names)


def _split(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


Labelled = tuple[Path, int]


def _listed(
    folder: Path, val_fraction: float, seed: int
) -> tuple[dict[str, list[Labelled]], tuple[str, ...]]:
    """Returns the images of each split, and the class names in the order of labels."""
    train, val = _split(folder, _TRAIN), _split(folder, _VAL)
    given = train and val and _classes(train)
    names = _classes(train if given and train else folder)
    if len(names) < 2:
        raise DataError(
            f"{folder}: expected a folder for each of at least two classes, or train/ and val/ "
            f"with such folders, or with {arrays.IMAGES} and {arrays.LABELS}; "
            f"got {', '.join(names) or 'none'}."
        )
    if given and train and val:
        if unknown := set(_classes(val)) - set(names):
            raise DataError(f"{val}: expected the classes of {train}, got {min(unknown)!r} too.")
        return {"train": _images(train, names), "val": _images(val, names)}, names
    if half := next((n for n in (*_TRAIN, *_VAL, "test") if _classes(folder / n)), None):
        raise DataError(
            f"{folder}: expected train/ and val/, or a folder for each class; "
            f"got {half}/ with folders in it."
        )
    splits: dict[str, list[Labelled]] = {"train": [], "val": []}
    images = _images(folder, names)
    with ThreadPoolExecutor(available_cpus()) as pool:
        shares = pool.map(lambda image: _share(image[0], seed), images)
        for image, share in zip(images, shares, strict=True):
            splits["val" if share < val_fraction else "train"].append(image)
    return splits, names


def _classes(folder: Path) -> tuple[str, ...]:
    """Returns the names of the folders in one that can be a class."""
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    )


def _images(folder: Path, names: Sequence[str]) -> list[Labelled]:
    return [
        (file, label)
        for label, name in enumerate(names)
        if (folder / name).is_dir()
        for file in walk_files(folder / name)
        if not file.name.startswith(".")
    ]


def _share(file: Path, seed: int) -> float:
    """Returns a number of 0 to 1, which is any with the same chance, for a file's content."""
    drawn = hashlib.sha256(b"%d\0" % seed + file.read_bytes()).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def _decoded(
    images: Sequence[Labelled], image_size: tuple[int, int], resize: Resize, bad: list[str]
) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Yields pixels and labels in order; adds what cannot be decoded to `bad`."""

    def decoded(image: Labelled) -> Pixels | str:
        try:
            encoded = check_image(image[0].read_bytes(), max_pixels=MAX_PIXELS).encoded
            return decode(encoded, image_size, resize)
        except BadImage as e:
            return f"{image[0]} ({e.reason}: {e.detail})"
        except OSError as e:
            return f"{image[0]} ({e.strerror or e})"

    with ThreadPoolExecutor(available_cpus()) as pool:
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            made = [*pool.map(decoded, part)]
            bad += [each for each in made if isinstance(each, str)]
            good = [(p, n) for p, (_, n) in zip(made, part, strict=True) if not isinstance(p, str)]
            if good:
                pixels, labels = zip(*good, strict=True)
                yield np.stack(pixels), np.array(labels, np.int64)
