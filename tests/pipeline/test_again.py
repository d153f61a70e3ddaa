"""`run --again`: what is read back of a run, what has changed since, what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Demo

from common.errors import ConfigError, DataError
from lineage.store.opening import open_reader
from lineage.store.workspace import Workspace
from modelstore.artifact import MODEL_ONNX, SERVING_FORMAT
from pipeline.run import again


@pytest.fixture
def read_back(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def read(ref: str, output: str | None = None) -> again.Again:
        reader = open_reader(Workspace(demo.workspace).connection)
        try:
            return again.read_back(reader, ref, output, None)
        finally:
            reader.close()

    return read


def test_a_run_is_read_back_by_whatever_names_it(demo: Demo, read_back: Any) -> None:
    first = demo.summary["runs"][0]
    for ref in (
        first["run_id"],
        first["where"],
        "digits-keras@1",
        str(demo.workspace / "runs" / first["run_id"]),
    ):
        found = read_back(ref)
        assert found.run_id == first["run_id"]
        recorded = json.loads((demo.workspace / "runs" / found.run_id / "config.json").read_text())
        assert dataclasses.asdict(found.config.train) == dataclasses.asdict(
            read_back(first["run_id"]).config.train
        )
        assert found.config.train.learning_rate == recorded["train"]["learning_rate"]
        assert found.config.data.path == str(demo.images)
        # Nothing is pushed to where the first one was.
        assert found.config.destination == found.config.output / "serving"
        assert not found.config.output.exists()


def test_a_run_of_when_intervals_were_optional_is_read_back(
    demo: Demo, read_back: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = again.recorded

    def older(reader: Any, ref: str) -> Any:
        then = recorded(reader, ref)
        evaluate = {**then.run.config["evaluate"], "confidence_intervals": False}
        config = {**then.run.config, "evaluate": evaluate}
        return dataclasses.replace(then, run=dataclasses.replace(then.run, config=config))

    expected = read_back("digits-keras@1").config.evaluate
    monkeypatch.setattr(again, "recorded", older)
    assert read_back("digits-keras@1").config.evaluate == expected


def test_nothing_differs_or_it_is_said(demo: Demo, read_back: Any, tmp_path: Path) -> None:
    found = read_back("digits-keras@1")
    assert not [d for d in again.differences(found) if "images" in d or "packages" in d]
    images = tmp_path / "images"
    shutil.copytree(demo.images, images)
    data = dataclasses.replace(found.config.data, path=str(images))
    moved = dataclasses.replace(found, config=dataclasses.replace(found.config, data=data))
    assert again.differences(moved) == again.differences(found), "a place is no difference"
    next(images.glob("3/*.png")).unlink()
    (said,) = set(again.differences(moved)) - set(again.differences(found))
    assert said.startswith("the images' digest: ")
    shutil.rmtree(images)
    with pytest.raises(DataError, match="no such file or folder"):
        again.differences(moved)


def test_packages_and_code_that_differ_are_named(read_back: Any) -> None:
    found = read_back("digits-keras@1")
    packages = {**found.then.tables[("packages", "")], "numpy": "1.0", "gone": "2"}
    then = dataclasses.replace(
        found.then,
        tables={**found.then.tables, ("packages", ""): packages},
        facts={**found.then.facts, ("code", "training code digest"): "f" * 64},
    )
    said = "\n".join(again.differences(dataclasses.replace(found, then=then)))
    assert "gone 2 then, missing now; numpy 1.0 then, " in said
    assert "training code digest: ffffffffffff then, " in said


def test_weights_are_compared_as_they_are(demo: Demo, read_back: Any, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    keras = read_back("digits-keras@1").then
    model = Path(keras.model.uri)
    assert "bit for bit" in again.compare_weights(keras, model)
    pytorch = Path(read_back("digits-pytorch@1").then.model.uri)
    assert "other layers" in again.compare_weights(keras, pytorch)
    assert "cannot be read" in again.compare_weights(keras, tmp_path)
    changed = onnx.load(model / SERVING_FORMAT / MODEL_ONNX)
    tensor = max(changed.graph.initializer, key=lambda t: len(t.raw_data))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 0.5
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (tmp_path / SERVING_FORMAT).mkdir()
    onnx.save(changed, tmp_path / SERVING_FORMAT / MODEL_ONNX)
    assert "by 0.5 at most" in again.compare_weights(keras, tmp_path)


def test_a_folder_with_a_cache_is_refused(demo: Demo, read_back: Any) -> None:
    with pytest.raises(ConfigError, match="from the cache"):
        read_back("digits-keras@1", str(demo.workspace))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--again", "digits-keras@1", "--epochs", "3"), "would make it another run"),
        (("config.toml", "--again", "digits-keras@1"), "config.toml would make it another run"),
        (("--again", "digits-keras@7"), "no version"),
        (("--again", "20200101-000000.000000"), "20200101-000000.000000"),
    ],
)
def test_what_is_refused(demo: Demo, cli: Cli, args: tuple[str, ...], told: str) -> None:
    done = cli("run", *args, "--metadata", demo.workspace / "metadata.sqlite")
    assert done.returncode not in (0, 1) and "Traceback" not in done.stderr
    assert told in done.stderr
