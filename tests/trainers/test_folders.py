"""Folders of images, and of arrays, as trainings without the pipeline read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_images import encode, exif, smooth
from softmax_regression import bright_and_dark, write_split
from typer.testing import CliRunner

from common.errors import DataError
from common.images.resized import decode
from trainers.__main__ import train
from trainers.data import Split
from trainers.folders import CLASS_NAMES, Found, find_arrays, write_arrays

pytestmark = pytest.mark.quick

SIZE = (8, 12)


def image(number: int) -> bytes:
    return encode("PNG", np.roll(smooth(), number, 1))


def write_images(folder: Path, classes=("cat", "dog"), count: int = 6, first: int = 0) -> Path:
    for at, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(image(first + at * count + number))
    return folder


def read(folder: Path, target: Path, **options) -> tuple[Found, Split, Split, list[str]]:
    said: list[str] = []
    given = {"image_size": SIZE, "resize": "stretch", "val_fraction": 0.4, "seed": 0, **options}
    found = write_arrays(folder, target, say=said.append, **given)
    return found, Split.open(found.train), Split.open(found.val), said


def pixels(split: Split) -> dict[bytes, int]:
    pairs = zip(split.images_NHW3, split.labels_N, strict=True)
    return {image.tobytes(): int(label) for image, label in pairs}


def expected(numbers: range, label: int) -> dict[bytes, int]:
    return {decode(image(n), SIZE, "stretch").tobytes(): label for n in numbers}


def test_classes_are_folders_and_the_split_is_drawn_by_content(tmp_path):
    folder = write_images(tmp_path / "in")
    (folder / "dog" / "copy of 0.png").write_bytes(image(0))
    found, train_split, val_split, said = read(folder, tmp_path / "a")
    assert found.class_names == ("cat", "dog")
    assert len(train_split) + len(val_split) == 13
    in_both = pixels(train_split).keys() & pixels(val_split).keys()
    assert not in_both, "copies stay together"
    assert said[0] == f"train: {len(train_split)} images of 2 classes"
    _, again, _, _ = read(folder, tmp_path / "b")
    np.testing.assert_array_equal(again.images_NHW3, train_split.images_NHW3)
    _, other, _, _ = read(folder, tmp_path / "c", seed=3)
    assert pixels(other).keys() != pixels(train_split).keys()


@pytest.mark.parametrize("val", ["val", "validation"])
def test_splits_that_are_there_are_kept(tmp_path, val):
    write_images(tmp_path / "in/train", count=3)
    write_images(tmp_path / f"in/{val}", ("dog",), count=2, first=20)
    write_images(tmp_path / "in/test", ("dog",), count=1, first=30)
    _, train_split, val_split, _ = read(tmp_path / "in", tmp_path / "out")
    assert pixels(train_split) == expected(range(3), 0) | expected(range(3, 6), 1)
    assert pixels(val_split) == expected(range(20, 22), 1)


def test_what_is_no_image_is_left_out_and_told(tmp_path):
    folder = write_images(tmp_path / "in")
    (folder / "cat" / "a.txt").write_text("no image")
    (folder / "cat" / ".hidden").write_text("no image either")
    for n in range(4):
        (folder / "dog" / f"cut {n}.png").write_bytes(image(n)[:60])
    found, train_split, val_split, said = read(folder, tmp_path / "out")
    assert len(train_split) + len(val_split) == 12
    told = "\n".join(said)
    assert "a.txt (not-an-image" in told and "cut" in told and ".hidden" not in told
    assert found == find_arrays(tmp_path / "out")


def test_turned_photographs_are_upright(tmp_path):
    folder = write_images(tmp_path / "in", count=1)
    photo = encode("JPEG", smooth(16, 24), exif=exif(6), quality=95)
    (folder / "cat" / "0.png").write_bytes(photo)
    _, train_split, val_split, _ = read(folder, tmp_path / "out", image_size=(24, 16), seed=1)
    both = np.concatenate([train_split.images_NHW3, val_split.images_NHW3])
    upright = np.rot90(smooth(16, 24), -1).astype(int)
    assert min(np.abs(each - upright).max() for each in both) < 20


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ([], "at least two classes, .*; got none"),
        (["cat"], "got cat"),
        (["train/cat", "train/dog"], "got train"),
        (["train/cat", "test/cat"], r"expected train/ and val/, .*; got train/ with folders in it"),
        (["train/cat", "train/dog", "val/cow"], "expected the classes of .*, got 'cow' too"),
        (["cat", "dog"], "The split 'train' has no image"),
    ],
)
def test_folders_that_cannot_be_trained_on_are_refused(tmp_path, folders, said):
    for name in folders:
        (tmp_path / "in" / name).mkdir(parents=True)
    (tmp_path / "in").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "in", tmp_path / "out")


def test_arrays_are_taken_as_they_are(tmp_path):
    for name in ("Split-train", "Split-val"):
        write_split(tmp_path / name, bright_and_dark(4))
    found = find_arrays(tmp_path)
    assert found is not None and found.class_names == ("0", "1")
    (tmp_path / CLASS_NAMES).write_text("dark\nbright\n")
    assert find_arrays(tmp_path).class_names == ("dark", "bright")
    (tmp_path / CLASS_NAMES).write_text("dark\n")
    with pytest.raises(DataError, match=r"labels of 0 to 0, .*; got 1"):
        find_arrays(tmp_path)
    assert find_arrays(write_images(tmp_path / "images")) is None


def command(*arguments: object):
    import typer

    app = typer.Typer(rich_markup_mode=None)
    app.command()(train)
    return CliRunner().invoke(app, [*map(str, arguments)])


MODEL = ("--framework", "keras", "--model", "small_cnn")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", *MODEL], "Expected a folder of images or arrays, found none at nowhere."),
        ([".", "--model", "m"], "--framework is missing; `visionline models` lists both."),
        ([".", *MODEL, "--set", "epohcs=2"], "Unknown config key epohcs. Did you mean 'epochs'?"),
        ([".", *MODEL, "--set", "train.epochs=0"], "epochs: expected 1 or more, got 0."),
        ([".", *MODEL, "--set", "input=stream"], 'got "stream", which reads what the pipeline'),
        ([".", *MODEL, "--image-size", "4x9"], "expected 224 or 224x320 (height x width), each 8"),
        ([".", "--framework", "kears", "--model", "m"], "Did you mean 'keras'?"),
    ],
)
def test_a_wrong_command_is_told_in_a_sentence(tmp_path, arguments, said):
    done = command(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert said in done.output and "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    done = command(".", *MODEL, "--out", tmp_path)
    assert "--out: expected a new folder" in done.output and done.exit_code == 2


def test_arrays_have_their_size(tmp_path):
    for name in ("train", "val"):
        write_split(tmp_path / name, bright_and_dark(4))
    done = command(tmp_path, *MODEL, "--image-size", "32", "--out", tmp_path / "out")
    assert "--image-size: expected none, since" in done.output and done.exit_code == 2
