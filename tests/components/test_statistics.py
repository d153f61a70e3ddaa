"""StatisticsGen without Beam says what TFX's own says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ingested import ingest
from PIL import Image
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.statistics import executor as statistics

SPLITS = ("train", "val", "test")


def described(examples: standard_artifacts.Examples, folder: Path) -> dict[str, bytes]:
    output = standard_artifacts.ExampleStatistics()
    output.uri = str(folder)
    statistics.Executor().Do({"examples": [examples]}, {"statistics": [output]}, {})
    assert artifact_utils.decode_split_names(output.split_names) == list(SPLITS)
    return {s: (folder / f"Split-{s}/FeatureStats.pb").read_bytes() for s in SPLITS}


@pytest.fixture
def examples(tmp_path: Path) -> standard_artifacts.Examples:
    """Images of several formats and sizes, with extra columns that are partly empty."""
    with open(tmp_path / "m.csv", "w", newline="", encoding="utf-8") as f:
        write = csv.writer(f).writerow
        write(("path", "label", "site", "nothing"))
        for i in range(60):
            name = f"{i}.{('png', 'jpg', 'bmp')[i % 3]}"
            Image.new("RGB", (20 + i % 7, 30), (i, 0, 0)).save(tmp_path / name)
            write((name, ("cat", "žába", "d g")[i % 3], ("north", "", "süd")[i % 3], ""))
    uri, report = ingest(tmp_path, path=str(tmp_path / "m.csv"))
    made = standard_artifacts.Examples()
    made.uri, made.split_names = str(uri), artifact_utils.encode_split_names(list(SPLITS))
    made.set_json_value_custom_property("extra_columns", report["extra_columns"])
    return made


def test_the_same_bytes_with_and_without_beam(
    examples: standard_artifacts.Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = described(examples, tmp_path / "few")
    monkeypatch.setattr(statistics, "MOST_BYTES", 0)
    assert few == described(examples, tmp_path / "many")
    assert b"site" in few["train"] and "žába".encode() in few["train"]


def test_a_split_without_images(examples: standard_artifacts.Examples, tmp_path: Path) -> None:
    for file in Path(examples.uri, "Split-val").iterdir():
        file.unlink()
    few = described(examples, tmp_path / "few")
    (dataset,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(few["val"]).datasets
    assert dataset.num_examples == 0
