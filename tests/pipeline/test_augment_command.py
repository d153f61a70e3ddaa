"""`visionline augment`: the picture it draws, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import VisionlineError
from pipeline.cli.main import app
from trainers.augment.draw import draw
from trainers.augment.reference import apply
from trainers.config import AugmentConfig

pytestmark = pytest.mark.quick


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (100, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def augment(*arguments: str | Path) -> None:
    app(["augment", *map(str, arguments)], standalone_mode=False)


def test_the_picture_shows_what_a_training_draws(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    flags = ["--set", "transform.image_size=100", "--set", 'train.augment.auto="rand"']
    augment(photos, "--out", out, *flags, "--count", "2", "--seed", "7")
    grid = np.asarray(Image.open(out))
    images = np.stack([np.asarray(Image.open(photos / f"{i}.png")) for i in range(3)])
    assert grid.shape == (8 + 3 * 122, 8 + 3 * 108, 3)
    cells = [grid[8 + 122 * r :, 8 + 108 * c :][:100, :100] for r in range(3) for c in range(3)]
    for row in range(3):
        np.testing.assert_array_equal(cells[3 * row], images[row])
    for epoch in (1, 2):
        rng = np.random.default_rng([7, epoch, 1])
        toned, augmentation = draw(
            AugmentConfig(auto="rand"), rng, images, np.arange(3), epoch=epoch, seed=7
        )
        assert augmentation is not None
        for row, expected in enumerate(apply(toned, augmentation)):
            np.testing.assert_allclose(cells[3 * row + epoch], expected, atol=0.51)


def test_a_config_file_says_what_is_drawn(photos: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\npath = "elsewhere"\n[transform]\nimage_size = [16, 24]\nresize = "pad"\n'
        "[train.augment]\nmixup = 1.0\n"
    )
    augment(photos, "--config", config, "--out", tmp_path / "grid.png", "--count", "1")
    # Small images are enlarged, 16×24 six times.
    assert Image.open(tmp_path / "grid.png").size == (8 + 2 * 152, 8 + 3 * 118)


def test_nothing_else_stands_beside_the_picture(photos: Path, tmp_path: Path) -> None:
    augment(photos / "0.png", "--out", tmp_path / "grid.png", "--count", "1")
    assert {f.name for f in tmp_path.iterdir()} == {"photos", "grid.png"}


@pytest.mark.parametrize(
    ("path", "flags", "message"),
    [
        ("nothing", [], "found nothing at"),
        ("photos/notes.txt", [], "Expected an image that a run would read, got .*: not-an-image"),
        ("empty", [], "Expected images in the folder"),
        ("photos", ["--out", "grid.jpg"], "--out: expected the name of a .png file"),
        ("photos", ["--out", "photos/grid.png"], "--out: expected a file outside of the images"),
        ("photos/0.png", ["--out", "photos/0.png"], "--out: expected a file outside of the images"),
        ("photos", ["--out", "nowhere/grid.png"], "--out: expected a file in a folder"),
        ("photos", ["--set", "train.epochs=3"], "expected a key of"),
        ("photos", ["--set", "train.augment.zom=1"], "zom. Did you mean 'zoom'"),
        ("photos/0.png", ["--set", "train.augment.mixup=1"], "two or more images, got one"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    path: str, flags: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    before = (photos / "0.png").read_bytes()
    with pytest.raises(VisionlineError, match=message):
        augment(path, "--out", "grid.png", *flags)
    assert not Path("grid.png").exists() and (photos / "0.png").read_bytes() == before
