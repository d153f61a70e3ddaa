"""Pictures of each class in a folder: one sheet a class, and a page that shows them all."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from common.errors import ConfigError, RunError
from common.files import write_atomic
from components.example_gen.preview.summary import Preview
from components.example_gen.preview.thumbnails import SIDE, Thumbnail
from components.example_gen.records import show
from pipeline.ui.rendering import contact_sheet

INDEX = "index.html"
_MARK = b'<meta name="generator" content="visionline data">'
"""Says that a folder's files may be replaced."""
_SHEET = re.compile(r"\d{3,}-[A-Za-z0-9._-]*\.jpg")
_COLUMNS = 6
_GAP = 8
_PAPER = (128, 128, 128)
"""Neutral, so that dark and bright pictures both show their edges."""


def check_folder(folder: Path, data: Path) -> None:
    """Refuses a folder that holds something else, or lies in the data.

    Raises:
      ConfigError: pictures in it would be lost, or be read as data.
    """
    if folder.resolve().is_relative_to(data.resolve()):
        raise ConfigError(f"--sheet: expected a folder outside the data, got {str(folder)!r}.")
    try:
        empty = not folder.exists() or not any(folder.iterdir())
        if not empty and _MARK not in (folder / INDEX).read_bytes()[:2000]:
            raise FileNotFoundError
    except OSError:
        raise ConfigError(
            "--sheet: expected a new or empty folder, or one with an earlier sheet, got "
            f"{str(folder)!r}."
        ) from None


def draw(
    folder: Path,
    found: Preview,
    thumbnails: Mapping[str, Sequence[Thumbnail]],
    splits: Mapping[bytes, str],
    **said: Any,
) -> None:
    """Writes a sheet for each class, and the page; earlier ones are replaced.

    Args:
      thumbnails: by class.
      splits: by image's path.
      said: what the page says of the data, besides.

    Raises:
      RunError: the folder cannot be written to.
    """
    files = {label: _file_name(i, label) for i, label in enumerate(thumbnails, 1)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for label, drawn in thumbnails.items():
            write_atomic(folder / files[label], _sheet(drawn))
        classes = [_class(n, files[n], ts, splits) for n, ts in thumbnails.items()]
        page = contact_sheet(found=found, side=SIDE, classes=classes, **said)
        write_atomic(folder / INDEX, page.encode())
        for file in folder.iterdir():
            if _SHEET.fullmatch(file.name) and file.name not in files.values():
                file.unlink()
    except OSError as e:
        raise RunError(f"Cannot write the pictures to {folder}: {e.strerror}.") from None


def _file_name(number: int, label: str) -> str:
    """Differs from others also where a disk knows no case; labels may hold anything."""
    return f"{number:03}-{re.sub('[^A-Za-z0-9._-]+', '-', label)[:60].strip('-.')}.jpg"


def _sheet(drawn: Sequence[Thumbnail]) -> bytes:
    columns, rows = min(_COLUMNS, len(drawn)), -(-len(drawn) // _COLUMNS)
    cell = SIDE + _GAP
    sheet = Image.new("RGB", (columns * cell + _GAP, rows * cell + _GAP), _PAPER)
    for index, thumbnail in enumerate(drawn):
        with Image.open(io.BytesIO(thumbnail.jpeg)) as image:
            # Tiny pictures are shown pixel by pixel.
            times = max(1, SIDE // max(image.size))
            picture = image.resize((image.width * times, image.height * times), 0)
        row, column = divmod(index, _COLUMNS)
        x, y = (
            _GAP + at * cell + (SIDE - side) // 2
            for at, side in zip((column, row), picture.size, strict=True)
        )
        sheet.paste(picture, (x, y))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=85)
    return out.getvalue()


def _class(
    name: str, file: str, drawn: Sequence[Thumbnail], splits: Mapping[bytes, str]
) -> dict[str, Any]:
    return {"name": name, "file": file, "images": [_figure(t, splits.get(t.path)) for t in drawn]}


def _figure(thumbnail: Thumbnail, split: str | None) -> dict[str, Any]:
    return {
        "source": "data:image/jpeg;base64," + base64.b64encode(thumbnail.jpeg).decode(),
        "path": show(thumbnail.path),
        "size": f"{thumbnail.width}×{thumbnail.height}",
        "split": split,
        "tiny": max(thumbnail.width, thumbnail.height) <= SIDE // 2,
    }
