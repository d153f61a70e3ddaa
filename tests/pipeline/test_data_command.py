"""`visionline data`: what it prints, draws and refuses."""

from __future__ import annotations

import io
import json
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium, find_chromium
from helpers import ROOT, python, start_python, wait_until
from jsonschema import Draft202012Validator
from PIL import Image

from common.errors import ConfigError, VisionlineError
from pipeline.cli.main import app
from pipeline.contact_sheet import check_folder
from pipeline.terminal import complain

pytestmark = pytest.mark.quick

SCHEMA = json.loads((ROOT / "docs" / "data.schema.json").read_text())
MARKUP = "<img src=x onerror=alert(1)>&amp;\"'"


def save(path: Path, shade: int, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), (shade % 256, 7, 9), np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number, label in enumerate(("cat", "Cat", "dog", "dogs", MARKUP)):
        for n in range(12):
            save(root / label / f"{n}.png", 30 * number + n)
    for name in ("3.png", "4.png"):
        (root / "dog" / name).write_bytes((root / "cat" / name).read_bytes())
    (root / "dog" / "a\x1b[31m\nb.png").write_bytes(b"")
    (root / "dog" / "notes.txt").touch()
    return root


@dataclass
class Done:
    stdout: str
    stderr: str
    returncode: int


def data(*arguments: str | Path) -> Done:
    """As the command does it, in this process."""
    code, out, errors = 0, io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            app(["data", *map(str, arguments)], standalone_mode=False)
        except VisionlineError as e:
            complain(str(e))
            code = e.exit_code
    return Done(out.getvalue(), errors.getvalue(), code)


def test_what_a_run_would_read_is_told(photos):
    done = data(photos)
    assert (done.returncode, done.stderr) == (0, "")
    facts = dict(
        line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith(f"{photos}\t")
    )
    assert facts["read as"].startswith("folder; a sub-folder for each class; ")
    assert facts["images"] == "60 in 5 classes"
    assert (facts["width"], facts["height"]) == ("8, all", "6, all")
    assert facts["files"] == "60 × PNG RGB"
    assert facts["normalised"] == "none, all are used as they are"
    assert facts["ignored"] == "1 × *.txt"
    assert facts["quarantined"] == "1 × empty"
    assert facts["duplicates"] == "2 copies; 2 under more than one label"
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 4]
    assert rows[0] == ["class", "train", "val", "test", "all"]
    assert [(name, all_) for name, *_, all_ in rows[1:]] == [
        (name, "12") for name in sorted(("cat", "Cat", "dog", "dogs", MARKUP))
    ]
    assert "  dog/a\\x1b[31m\\nb.png: empty (0 bytes)\n" in done.stdout
    assert "Other images under more than one label\n  cat/4.png (cat) = dog/4.png (dog)\n" in (
        done.stdout
    )
    assert "  'dog' and 'dogs' are 2 classes, by names that differ little.\n" in done.stdout
    assert "under more than one label: cat/3.png (cat) and dog/3.png (dog).\n" in done.stdout
    assert "  The classes 'Cat' and 'cat' differ in case alone, and count as two.\n" in done.stdout


def test_json_is_what_its_schema_says(photos):
    found = json.loads(data(photos, "--json").stdout)
    Draft202012Validator(SCHEMA).validate(found)
    assert found["format"] == "visionline.data/1"
    assert found["width"] == {"min": 8, "median": 8, "max": 8}
    assert [q["reason"] for q in found["quarantine"]] == ["empty"]


def test_data_that_a_run_refuses_is_shown_and_refused(photos):
    for n in range(11):
        (photos / "dog" / f"{n}.png").write_bytes(b"")
    done = data(photos)
    assert done.returncode == 1
    assert "12 of 61 images are unusable" in done.stderr and "Traceback" not in done.stderr
    assert f"{photos}\tquarantined\t12 × empty" in done.stdout
    assert "dog\t" in done.stdout
    found = json.loads(data(photos, "--json").stdout)
    Draft202012Validator(SCHEMA).validate(found)
    assert found["refused"].startswith("12 of 61") and found["classes"]["dog"] == 1


def test_data_of_which_nothing_is_left(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"no image")
    done = data(tmp_path, "--set", "data.max_quarantine_fraction=1", "--json")
    found = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    assert done.returncode == 1
    assert (found["report"], found["width"]) == (None, None)
    assert found["classes"] == {"cat": 0, "dog": 0}
    assert [s["kind"] for s in found["suspicious"]] == ["no-usable-image"]
    shown = data(tmp_path, "--set", "data.max_quarantine_fraction=1", "--sheet", tmp_path / "../s")
    assert "files\tnone can be used" in shown.stdout and shown.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: no such file or folder"),
        ([], 2, "Say which images: `visionline data FOLDER`, or path in [data]."),
        (["x", "--set", "train.epochs=3"], 2, "expected a key of [data]"),
        (["x", "--set", "data.fromat=1"], 2, "Unknown config key data.fromat."),
        (["x", "--config", "nowhere.toml"], 2, "Cannot read the config nowhere.toml"),
        (
            [str(ROOT), "--sheet", str(ROOT / "tests")],
            2,
            "--sheet: expected a folder outside the data",
        ),
        (["x", "--sheet", str(ROOT / "docs")], 2, "--sheet: expected a new or empty folder"),
        (["x", "--sheet", str(ROOT / "README.md")], 2, "--sheet: expected a new or empty folder"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(arguments, code, message):
    done = data(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_the_config_of_a_run_is_taken_and_laid_over(photos, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        f'[data]\npath = "{photos}"\nmax_pixels = 47\nmax_quarantine_fraction = 1\n'
        '[train]\nframework = "pytorch"\nmodel = "resnet18"\n'
    )
    too_large = json.loads(data("--config", config, "--json").stdout)
    assert {q["reason"] for q in too_large["quarantine"]} == {"too-large", "empty"}
    setting = ["--set", "data.max_pixels=48"]
    found = json.loads(data("--config", config, *setting, "--json").stdout)
    assert len(found["quarantine"]) == 1
    listed = tmp_path / "list.csv"
    listed.write_text("path,label\nphotos/cat/1.png,a\nphotos/dog/1.png,b\nphotos/dog/2.png,b\n")
    other = json.loads(data(listed, "--config", config, *setting, "--json").stdout)
    assert (other["path"], other["kind"]) == (str(listed), "manifest")


def test_of_many_classes_the_largest_and_smallest_are_shown(tmp_path):
    for n in range(60):
        for k in range(1 + n % 3):
            save(tmp_path / f"{n:02}x" / f"{k}.png", 3 * n + k)
    done = data(tmp_path)
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 4]
    assert [row[0] for row in rows[1:4]] == ["02x", "05x", "08x"]
    assert rows[21][0] == "… 20 more, --json has them" and len(rows) == 42
    assert [row[-1] for row in rows[22:]] == ["1"] * 20
    assert len(json.loads(data(tmp_path, "--json").stdout)["classes"]) == 60


def test_nothing_heavy_is_loaded_for_a_folder(photos):
    heavy = {"tensorflow", "tfx", "apache_beam", "torch", "jax", "pandas", "matplotlib", "pyarrow"}
    code = (
        "import sys\nfrom pipeline.cli.main import app\n"
        f"app(['data', {str(photos)!r}], standalone_mode=False)\n"
        f"print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    assert python("-c", code).stderr == "[]\n"


def test_ctrl_c_ends_it_in_a_moment(photos):
    save(photos / "dog" / "large.png", 9, (6000, 6000))
    content = (photos / "dog" / "large.png").read_bytes()
    for n in range(100):
        (photos / "dog" / f"large{n}.png").write_bytes(content)
    arguments = ["-m", "pipeline.cli.main", "data", str(photos)]
    process = start_python(*arguments, OPENBLAS_NUM_THREADS="1")
    wait_until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1)  # it reads images
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)
    assert (process.returncode, *said) == (130, "", "")


def test_pictures_are_drawn_and_replaced(photos, tmp_path):
    sheet = tmp_path / "a" / "sheet"
    done = data(photos, "--sheet", sheet)
    assert done.returncode == 0 and f"{sheet}/index.html" in done.stdout
    names = sorted(os.listdir(sheet))
    assert names == [
        *("001-img-src-x-onerror-alert-1-amp.jpg", "002-Cat.jpg", "003-cat.jpg", "004-dog.jpg"),
        *("005-dogs.jpg", "index.html"),
    ]
    for name in names[:-1]:
        with Image.open(sheet / name) as picture:
            assert picture.size == (6 * 136 + 8, 2 * 136 + 8)
    page = (sheet / "index.html").read_text()
    assert page.count("<figure>") == page.count("data:image/jpeg;base64,") == 60
    assert "<img src=x" not in page and "://" not in page
    first = {name: (sheet / name).read_bytes() for name in names}
    data(photos, "--sheet", sheet)
    assert {name: (sheet / name).read_bytes() for name in names} == first
    (sheet / "mine.txt").touch()
    for file in (photos / "Cat").iterdir():
        file.unlink()
    assert data(photos, "--sheet", sheet, "--seed", "5").returncode == 0
    assert sorted(os.listdir(sheet))[1:] == [
        *("002-cat.jpg", "003-dog.jpg", "004-dogs.jpg", "index.html", "mine.txt")
    ]


def test_another_seed_draws_other_images(tmp_path):
    for label in ("cat", "dog"):
        for n in range(60):
            save(tmp_path / "photos" / label / f"{n}.png", 60 * (label == "dog") + n)
    pages = [
        (data(tmp_path / "photos", "--sheet", tmp_path / seed, "--seed", seed), tmp_path / seed)[1]
        for seed in ("1", "2")
    ]
    first, second = ((page / "index.html").read_text() for page in pages)
    assert first.count("<figure>") == second.count("<figure>") == 48 and first != second


def test_a_disk_that_cannot_be_written_to_is_named(photos, tmp_path):
    (tmp_path / "file").touch()
    done = data(photos, "--sheet", tmp_path / "file" / "sheet")
    assert done.returncode in (1, 2) and str(tmp_path / "file" / "sheet") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "index.html").write_text("<p>mine")
    with pytest.raises(ConfigError, match="new or empty folder"):
        check_folder(tmp_path, tmp_path / "photos")


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_the_page_fits_phones_and_desks(photos, tmp_path):
    save(photos / "dog" / "wide.png", 200, (900, 20))
    save(photos / ("long-name-" * 20) / "1.png", 201)
    data(photos, "--sheet", tmp_path / "sheet")
    chromium = Chromium(find_chromium() or "", tmp_path / "profile")
    try:
        for width in (390, 1280):
            for dark in (False, True):
                chromium.open(f"file://{tmp_path}/sheet/index.html", width=width, dark=dark)
                assert chromium.evaluate("document.documentElement.scrollWidth") <= width
                shown = "[...document.images].filter(i => i.complete && i.naturalWidth).length"
                assert chromium.evaluate(shown) == 62
        assert chromium.complaints == []
        assert {a[:5] for a in chromium.asked} <= {"file:", "data:", "about"}
    finally:
        chromium.close()
