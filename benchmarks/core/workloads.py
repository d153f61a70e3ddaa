"""Folders of labelled images to measure on: CIFAR-10's, or drawn ones."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

CLASSES = 10
PHOTOGRAPH = (500, 375)
"""Width and height in pixels; drawn ones vary by a tenth."""
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Workloads:
    """Folders that are made once below `root` and read by every question.

    Args:
      archive: CIFAR-10's training images, a tar of `…/CLASS/NAME.jpg`; without it small images
        are drawn.
    """

    root: Path
    archive: Path | None

    @property
    def small_images(self) -> str:
        """Says what the small images are."""
        return "CIFAR-10's JPEGs" if self.archive else "drawn JPEGs in CIFAR-10's place"

    def small(self, count: int) -> Path:
        """Returns a folder with `count` images of 32×32, in ten class folders."""
        return self._made(f"small-{count}", self._small_files(count), lambda n, label: label)

    def small_split(self, train: int, val: int) -> Path:
        """Returns a folder with `train/` and `val/` of so many images of 32×32."""

        def place(n: int, label: str) -> str:
            return f"train/{label}" if n < train // CLASSES else f"val/{label}"

        return self._made(f"small-{train}-{val}", self._small_files(train + val), place)

    def photographs(self, count: int) -> Path:
        """Returns a folder with `count` drawn camera-like JPEGs, in ten class folders."""
        files = self._drawn("photographs", count, PHOTOGRAPH, 90)
        return self._made(f"photographs-{count}", files, lambda n, label: label)

    def _small_files(self, count: int) -> Iterator[Path]:
        if self.archive is None:
            return self._drawn("drawn", count, (32, 32), 95)
        return _first(self._unpacked(self.archive), count)

    def _unpacked(self, archive: Path) -> Path:
        target = self.root / f"unpacked-{archive.name}"
        if not target.exists():
            building = _emptied(target)
            with tarfile.open(archive) as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    if not (member.isfile() and path.suffix.lower() in _JPEG):
                        continue
                    file = tar.extractfile(member)
                    assert file is not None
                    place = building / path.parent.name
                    place.mkdir(exist_ok=True)
                    (place / path.name).write_bytes(file.read())
            building.rename(target)
        return target

    def _drawn(self, name: str, count: int, size: tuple[int, int], quality: int) -> Iterator[Path]:
        """Draws what is missing of `count` images; a larger folder begins like a smaller one."""
        folder = self.root / name
        each = -(-count // CLASSES)
        jobs = []
        for label in range(CLASSES):
            (folder / f"class-{label}").mkdir(parents=True, exist_ok=True)
            for n in range(each):
                path = folder / f"class-{label}" / f"{n:06d}.jpg"
                if not path.exists():
                    jobs.append((path, label, n, size, quality))
        if len(jobs) > 200:
            with get_context("spawn").Pool() as pool:
                pool.starmap(draw, jobs, chunksize=100)
        else:
            for job in jobs:
                draw(*job)
        return _first(folder, count)

    def _made(self, name: str, files: Iterable[Path], place: Callable[[int, str], str]) -> Path:
        """Links files into a folder; `place` says where the n-th of a class goes."""
        kind = "archive" if self.archive and name.startswith("small") else "drawn"
        target = self.root / f"{kind}-{name}"
        if target.exists():
            return target
        building = _emptied(target)
        seen: dict[str, int] = defaultdict(int)
        for file in files:
            label = file.parent.name
            folder = building / place(seen[label], label)
            seen[label] += 1
            folder.mkdir(parents=True, exist_ok=True)
            os.link(file, folder / file.name)
        building.rename(target)
        return target


def _first(folder: Path, count: int) -> Iterator[Path]:
    """Yields the first images by name of each class, `count` in all, equally many of each."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    if not classes or count % len(classes):
        raise ValueError(f"Expected a multiple of the {len(classes)} classes, got {count} images.")
    for place in classes:
        files = sorted(p for p in place.iterdir() if p.suffix.lower() in _JPEG)
        if len(files) < (each := count // len(classes)):
            raise ValueError(f"Expected {each} JPEGs in {place}, found {len(files)}.")
        yield from files[:each]


def draw(path: Path, label: int, number: int, size: tuple[int, int], quality: int) -> None:
    """Writes one JPEG: clouds of the class's colour, a bright spot, grain, a camera's Exif.

    No two are alike, and a small network learns the classes.
    """
    rng = np.random.default_rng([label, number])
    photograph = size == PHOTOGRAPH
    width, height = (int(s * rng.uniform(0.9, 1.1)) for s in size) if photograph else size
    coarse = rng.normal(0, 40, (6, 8, 3)) + _hue(label)
    pixels = np.clip(coarse, 0, 255).astype(np.uint8)
    image = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.integers(0, 32, (height, width, 1), np.uint8)
    y, x = rng.integers(0, height * 3 // 4), rng.integers(0, width * 3 // 4)
    image[y : y + height // 5, x : x + width // 5] = rng.integers(128, 256, 3)
    image = np.minimum(image, 223) + grain
    out = io.BytesIO()
    exif = Image.Exif()
    if photograph:
        exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Camera", 1
    Image.fromarray(image).save(out, "JPEG", quality=quality, exif=exif)
    # Written aside first, so that a file that is there is whole.
    aside = path.with_suffix(".part")
    aside.write_bytes(out.getvalue())
    aside.rename(path)


def _hue(label: int) -> np.ndarray:
    angles = 2 * np.pi * (label / CLASSES + np.arange(3) / 3)
    return 128 + 64 * np.cos(angles)


def _emptied(target: Path) -> Path:
    """Returns an empty folder beside `target`, which is renamed to it when it is whole."""
    building = target.with_name(f".{target.name}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    return building
