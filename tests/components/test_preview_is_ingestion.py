"""What `visionline data` says is what an ingestion of the same data writes down."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingested import ingest
from odd_images import all_kinds
from PIL import Image

from common.errors import DataError
from components.example_gen.gather import example_of
from components.example_gen.records import Record
from pipeline.cli.main import app

import tensorflow as tf  # isort: skip


def save(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), (shade % 256, 7, 9), np.uint8)).save(path)


def classes(root: Path, count: int = 12) -> None:
    for number, label in enumerate(("cat", "žába")):
        for n in range(count):
            save(root / label / f"{n}.png", 100 * number + n)


def odd_folder(root: Path) -> dict[str, Any]:
    """Every kind of picture, what is none, copies, names that are no UTF-8."""
    for n, odd in enumerate(all_kinds()):
        (root / "odd").mkdir(parents=True, exist_ok=True)
        (root / "odd" / f"{n}.png").write_bytes(odd.data)
    classes(root)
    (root / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (root / "cat" / "cut off.png").write_bytes((root / "cat/1.png").read_bytes()[:-9])
    (root / "cat" / "empty.jpg").touch()
    (root / "cat" / "gone.jpg").symlink_to("nowhere")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / ".DS_Store").touch()
    (root / "stray.jpg").write_bytes((root / "cat/1.png").read_bytes())
    shutil.copy(root / "cat/3.png", root / "cat/copy.png")
    shutil.copy(root / "cat/3.png", root / "žába/three.png")
    shutil.copy(root / "cat/4.png", os.fsencode(root) + b"/cat/\xff.png")
    return {"path": str(root)}


def splits_given(root: Path) -> dict[str, Any]:
    for split in ("train", "valid"):
        classes(root / split, 5)
    save(root / "train" / "bird" / "1.png", 250)
    return {"path": str(root), "splits": {"train": 0.5, "val": 0.25, "test": 0.25}}


def few_images(root: Path) -> dict[str, Any]:
    """So few that some move between the splits; one is too large."""
    classes(root, 2)
    Image.new("RGB", (100, 100)).save(root / "cat" / "large.png")
    return {"path": str(root), "max_pixels": 99 * 100, "max_quarantine_fraction": 0.5}


def manifest(root: Path) -> dict[str, Any]:
    classes(root / "data")
    names = [f"{c}/{n}.png" for c in ("cat", "žába") for n in range(12)]
    lines = [f"data/{n},{n.split('/')[0]},left" for n in names]
    lines += [lines[0], "data/gone.png,cat,right"]
    (root / "list.csv").write_text("\n".join(["path,label,camera", *lines]) + "\n")
    return {"path": str(root / "list.csv")}


def spans(root: Path) -> dict[str, Any]:
    classes(root / "span-2" / "v1", 3)
    classes(root / "span-10" / "v3", 4)
    return {"path": f"{root}/span-{{SPAN}}/v{{VERSION}}"}


def tfrecords(root: Path) -> dict[str, Any]:
    classes(root / "images")
    for split in ("train", "test"):
        folder = root / "records" / f"Split-{split}"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "x.tfrecord")) as writer:
            for n in range(12):
                record = Record(path=b"%d.png" % n, label="ab"[n % 2], extra=(("camera", "left"),))
                data = (root / "images" / "cat" / f"{n}.png").read_bytes()
                example = example_of(record, data, "", 10_000)[1]
                if n == 5:
                    example = example.replace(b"IHDR", b"IHDX")
                writer.write(example)
    return {"path": str(root / "records"), "max_quarantine_fraction": 0.1}


def parquet(root: Path) -> dict[str, Any]:
    classes(root / "images")
    files = sorted((root / "images").rglob("*.png"))
    rows = [{"image": {"bytes": f.read_bytes(), "path": f.name}} for f in files]
    rows[3]["image"]["bytes"] = b"broken"
    labels = [f.parent.name for f in files]
    table = pa.table({"image": [r["image"] for r in rows], "label": labels})
    (root / "rows").mkdir()
    pq.write_table(table.slice(0, 10), root / "rows" / "a-00000-of-00003.parquet")
    pq.write_table(table.slice(10), root / "rows" / "a-00001-of-00003.parquet")
    return {"path": str(root / "rows"), "max_quarantine_fraction": 0.1}


def webdataset(root: Path) -> dict[str, Any]:
    classes(root / "images")
    (root / "shards").mkdir()
    with tarfile.open(root / "shards" / "0.tar", "w") as tar:
        for n, file in enumerate(sorted((root / "images").rglob("*.png"))):
            tar.add(file, f"{n:03}.png")
            label = tarfile.TarInfo(f"{n:03}.cls")
            label.size = 1
            tar.addfile(label, io.BytesIO(b"%d" % (n % 2)))
    return {"path": str(root / "shards")}


def archive(root: Path) -> dict[str, Any]:
    odd_folder(root / "images")
    (root / "images" / "cat" / "gone.jpg").unlink()
    return {"path": shutil.make_archive(str(root / "packed"), "gztar", root / "images")}


@pytest.mark.parametrize(
    "make",
    [
        odd_folder,
        splits_given,
        few_images,
        manifest,
        spans,
        tfrecords,
        parquet,
        webdataset,
        archive,
    ],
)
def test_the_report_is_that_of_an_ingestion(
    make: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    config = make(tmp_path / "data")
    _, report = ingest(tmp_path, **config)
    said = ask(tmp_path, config)
    assert said["report"] == report
    lines = (tmp_path / "out/report/quarantine.jsonl").read_text().splitlines()
    assert said["quarantine"] == [json.loads(line) for line in lines]
    assert said["refused"] is None
    assert sum(said["classes"].values()) == sum(said["originals"].values()) == report["images"]


def ask(tmp_path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What `visionline data --json` prints."""
    file, out = tmp_path / "config.json", io.StringIO()
    file.write_text(json.dumps({"data": config}))
    with redirect_stdout(out):
        app(["data", "--config", str(file), "--json"], standalone_mode=False)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.mark.parametrize("broken", ["too many", "one class left", "empty split"])
def test_what_an_ingestion_refuses_is_refused_in_its_words(broken: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    classes(data, 1 if broken == "empty split" else 12)
    spoiled = {"too many": 6, "one class left": 12, "empty split": 0}[broken]
    for n in range(spoiled):
        (data / "cat" / f"{n}.png").write_bytes(b"")
    config = {
        "path": str(data),
        "max_quarantine_fraction": 0.05 if broken == "too many" else 1.0,
    }
    with pytest.raises(DataError) as ingested:
        ingest(tmp_path, **config)
    with pytest.raises(DataError) as looked:
        ask(tmp_path, config)
    assert str(looked.value) == str(ingested.value)
