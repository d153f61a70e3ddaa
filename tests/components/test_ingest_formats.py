"""The same images in every format, ingested for real; and TFRecords, which TensorFlow reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import shards
from ingested import ingest
from shards import CLASSES, label_of, pictures, png, write_tfrecord

from common.errors import DataError
from components.example_gen.config import Columns, DataConfig
from components.example_gen.gather import reader_of
from components.example_gen.image_index import IMAGES_FILE, from_line
from components.example_gen.report import conclude
from components.example_gen.shards.tfrecord import read
from components.example_gen.source import list_source

PICTURES = pictures()


def index_of(folder):
    lines = (folder / "out/report" / IMAGES_FILE).read_bytes().splitlines()
    return [from_line(line) for line in lines]


@pytest.fixture(scope="module")
def as_a_folder(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("folder")
    _, report = ingest(tmp, path=str(shards.as_folder(tmp / "toy", PICTURES)))
    return report, index_of(tmp)


WRITTEN = {
    "parquet": lambda tmp: shards.as_parquet(tmp / "toy.parquet", PICTURES),
    "webdataset": lambda tmp: shards.as_webdataset(tmp / "toy.tar", PICTURES),
    "zip": lambda tmp: shards.write_zip(tmp / "toy.zip", PICTURES.items()),
    "tar.gz": lambda tmp: shards.write_tar(tmp / "toy.tar.gz", PICTURES.items(), "w:gz"),
    "tfds": lambda tmp: (
        shards.as_tfds(tmp / "toy" / "1.0.0", PICTURES) / "toy-train.tfrecord-00000-of-00001"
    ),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_the_same_images_are_the_same_data_set(as_a_folder, tmp_path, written):
    report, index = as_a_folder
    _, found = ingest(tmp_path, path=str(written(tmp_path)))
    for key in ("dataset_digest", "images", "splits", "classes", "width", "notices", "duplicates"):
        assert found[key] == report[key], key
    of_folder = [(i.sha256, i.split, i.label) for i in index]
    assert [(i.sha256, i.split, i.label) for i in index_of(tmp_path)] == of_folder


def test_another_label_is_another_data_set(as_a_folder, tmp_path):
    other = dict(PICTURES)
    other[f"{CLASSES[1]}/new.png"] = other.pop(f"{CLASSES[0]}/0.png")
    _, found = ingest(tmp_path, path=str(shards.as_parquet(tmp_path / "toy.parquet", other)))
    assert found["dataset_digest"] != as_a_folder[0]["dataset_digest"]


def test_shards_go_through_the_same_checks(tmp_path):
    """A broken image and a null one, a copy across splits, numbers without names."""
    data = list(PICTURES.values())
    labels = [CLASSES.index(label_of(path)) for path in PICTURES]
    columns = {"image": [*data, data[0][:60], None], "label": [*labels, 0, 1]}
    shards.write_parquet(tmp_path / "data/train.parquet", columns)
    shards.write_parquet(tmp_path / "data/test.parquet", {"image": data[:9:8], "label": [0, 1]})
    _, found = ingest(tmp_path, path=str(tmp_path / "data"))
    assert found["classes"] == ["0", "1"] and found["splits"]["test"]["images"] == 2
    assert found["notices"][0].startswith("The labels are numbers without names")
    assert found["quarantined"]["reasons"] == {"missing": 1, "truncated": 1}
    lines = (tmp_path / "out/report/quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == [f"train.parquet#{n}" for n in (40, 41)]
    assert found["duplicates"]["across_splits"]["count"] == 2
    (contradiction,) = found["duplicates"]["across_labels"]["first"]
    assert sorted(contradiction["paths"]) == ["test.parquet#1", "train.parquet#8"]


def test_a_shard_that_changes_while_it_is_read(tmp_path):
    path = shards.as_parquet(tmp_path / "toy.parquet", PICTURES)
    config = DataConfig(path=str(path))
    source = list_source(config, str(path))
    reader = reader_of(source.base, config.max_pixels, config.depth)

    def take(note, example):
        os.utime(path)

    (shard,) = source.shards
    notes = list(reader.shard(shard, source.kind, config.columns, take))
    reader.close()
    with pytest.raises(DataError, match=r"toy\.parquet changed while it was being read"):
        conclude(source, config, notes)


def test_a_shard_that_is_cut_off_ends_the_run(tmp_path):
    path = shards.as_webdataset(tmp_path / "toy.tar", PICTURES)
    path.write_bytes(path.read_bytes()[: 60 * 1024])
    with pytest.raises(DataError, match=r"toy\.tar: the tar is cut off or damaged after"):
        ingest(tmp_path, path=str(path))


def test_addresses_in_place_of_images(tmp_path):
    columns = {"image": [b"https://a.b/c.jpg"] * 2, "label": ["x", "y"]}
    path = shards.write_parquet(tmp_path / "x.parquet", columns)
    with pytest.raises(DataError, match=r"x.parquet#0: expected encoded images, got an address"):
        ingest(tmp_path, path=str(path))


# TFRecords.

A, B = png(1), png(2)


def records(folder: Path, **config):
    """(Label, image) of the TFRecords in a folder."""
    config = DataConfig(path=str(folder), **config)
    source = list_source(config, config.path)
    return [
        (record.label, data)
        for shard in source.shards
        for record, data in read(str(folder / shard.path.decode()), shard, config.columns)
    ]


@pytest.mark.parametrize(
    ("name", "values", "label"),
    [
        ("train.tfrecord", {"image": A, "label": 3}, "3"),
        ("train.tfrecord", {"image/encoded": A, "label": b"cat", "image/format": b"png"}, "cat"),
        ("00-192x192-798.tfrec", {"image": A, "class": 3, "id": b"7f"}, "3"),
        ("x-train.tfrecord-00000-of-00001", {"image_bytes": A, "label": b"cat"}, "cat"),
        ("train-00000-of-00001.tfrecords", {"image/encoded": A, "image/class/label": 3}, "3"),
    ],
)
def test_tfrecord_features(tmp_path, name, values, label):
    write_tfrecord(tmp_path / name, [values])
    assert records(tmp_path) == [(label, A)]


def test_tfrecord_features_of_the_config(tmp_path):
    values = {"picture": A, "mask": B, "breed": 1, "label": 0}
    write_tfrecord(tmp_path / "x.tfrecord", [values])
    columns = Columns(image="picture", label="breed")
    assert records(tmp_path, columns=columns, class_names=("cat", "dog")) == [("dog", A)]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([{"image": A, "mask": B, "label": 0}], r"image or mask; choose: data.columns.image"),
        ([{"image": A, "id": b"7f"}], r"expected a column with the labels .*found id; name it"),
        (
            [{"image/encoded": A, "image/class/label": 0, "image/class/text": b"x"}],
            r"image/class/label \(numbers without names\) or image/class/text \(text\)",
        ),
        ([{"image": A, "label": 0}, {"image": A}], r"x.tfrecord, example 1: there is no label"),
    ],
)
def test_tfrecords_that_are_refused(tmp_path, examples, message):
    write_tfrecord(tmp_path / "x.tfrecord", examples)
    with pytest.raises(DataError, match=message):
        records(tmp_path)


def test_a_tfrecord_without_its_image_is_quarantined(tmp_path):
    write_tfrecord(tmp_path / "x.tfrecord", [{"image": A, "label": 0}, {"label": 1}])
    assert records(tmp_path)[1][1].reason == "missing"


def test_names_that_tfds_writes(tmp_path):
    folder = shards.as_tfds(tmp_path / "toy" / "3.0.2", PICTURES)
    found = {label for label, _ in records(folder)}
    assert found == set(CLASSES)
    shards.as_tfds(tmp_path / "toy" / "3.0.1", PICTURES)
    with pytest.raises(DataError, match=r"several data sets: '3.0.1' and '3.0.2'"):
        records(tmp_path / "toy")
