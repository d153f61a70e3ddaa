"""`visionline curves`, on a generated store and on folders."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest
from lineage_store import Builder
from PIL import Image
from typer.testing import CliRunner

from common.errors import DataError, NotFoundError, RunError
from common.record.record import names_of
from common.record.run import Run
from lineage.store.workspace import TRAINING, Workspace
from pipeline.cli.main import app
from trainers.history import HISTORY

HOST, DIRECTORY, FRAMEWORK, MODEL = names_of(Run.host, Run.directory, Run.framework, Run.model)


def write_history(folder: Path, epochs: int, *, loss: float = 1.0, headline: str = "accuracy"):
    folder.mkdir(parents=True, exist_ok=True)
    figures = [
        {
            **{"epoch": n, "loss": loss / n, "val_loss": loss / n + 0.01 * n},
            **{headline: 0.5 + n / 100, f"val_{headline}": 0.4 + n / 100},
            **{"learning_rate": 0.01, "seconds": 2.0, "images_per_second": 1234.0},
        }
        for n in range(1, epochs + 1)
    ]
    (folder / HISTORY).write_text(json.dumps(figures))


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pushed versions, and a run that failed in training."""
    monkeypatch.chdir(tmp_path)
    builder = Builder(tmp_path / "metadata.sqlite")
    for number, framework in ((1, "keras"), (2, "pytorch")):
        run = builder.run(version=number, run_properties={FRAMEWORK: framework, MODEL: "small_cnn"})
        (made,) = builder.store.get_artifacts_by_id([run.artifacts["Trainer.model_run"]])
        write_history(Path(made.uri), 4 + number, loss=1.0 / number)
    builder.run(
        "stopped",
        version=None,
        fails="Trainer",
        run_properties={HOST: socket.gethostname(), DIRECTORY: str(tmp_path)}
        | {FRAMEWORK: "keras", MODEL: "small_cnn"}
        | {"config": json.dumps({"run": {"output": str(tmp_path)}})},
    )
    return tmp_path


def curves(*arguments: str | Path):
    return CliRunner().invoke(app, ["curves", *map(str, arguments)], catch_exceptions=False)


def colours(path: Path) -> set[tuple[int, ...]]:
    """Colours of a picture that are clearly no grey."""
    with Image.open(path) as image:
        pixels = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0).astype(int)
    return {tuple(p) for p in pixels if np.ptp(p) > 100}


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


def test_versions_and_runs_are_drawn_in_one_picture(output):
    done = curves("digits-keras@1", "run-00002", "--output", output, "--out", "both.png")
    assert done.exit_code == 0
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:5] == ["training", "epochs", "best", "validation loss", "validation accuracy"]
    assert lines[1][:5] == ["digits-keras@1: small_cnn (keras)", "5", "5", "0.2500", "0.4500"]
    assert lines[2][:5] == ["run-00002: small_cnn (pytorch)", "6", "6", "0.1433", "0.4600"]
    assert {BLUE, ORANGE} <= colours(output / "both.png")


def test_one_has_one_colour_and_curves_png_is_its_file(output):
    assert curves("digits-keras", "--output", output).exit_code == 0
    assert BLUE in (drawn := colours(output / "curves.png")) and ORANGE not in drawn


def test_a_training_that_goes_on_or_failed_is_drawn_from_where_it_writes(output):
    with pytest.raises(NotFoundError, match="The run stopped has left no training to draw"):
        curves("stopped", "--output", output)
    folder = Workspace(output).run_dir("stopped") / TRAINING
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="no epoch has ended"):
        curves("stopped", "--output", output)
    write_history(folder, 2)
    assert "stopped: small_cnn (keras)\t2\t2" in curves("stopped", "--output", output).stdout


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[{"val_loss": 1}]', '[{"val_a": 1}]'])
def test_what_is_no_history_is_refused(tmp_path, text):
    (tmp_path / HISTORY).write_text(text)
    with pytest.raises(DataError, match=r"history.json is no history of a training"):
        curves(tmp_path)


def test_a_picture_that_cannot_be_written_is_said(tmp_path):
    write_history(tmp_path, 1)
    with pytest.raises(RunError, match=r"Cannot write the picture .*: No such file or directory"):
        curves(tmp_path, "--out", tmp_path / "nowhere" / "c.png")


def test_json_has_every_epoch(output):
    done = curves("digits-keras@2", "--output", output, "--json")
    answer = json.loads(done.stdout)
    assert answer["format"] == "visionline.curves/1"
    (training,) = answer["trainings"]
    assert [e["epoch"] for e in training["epochs"]] == [1, 2, 3, 4, 5, 6]
    assert training["epochs"][0]["val_accuracy"] == pytest.approx(0.41)
    assert not (output / "curves.png").exists()


def test_a_folder_with_a_history_needs_no_store(tmp_path):
    write_history(tmp_path / "a", 3)
    write_history(tmp_path / "b", 40, headline="mean_average_precision")
    done = curves(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c.png")
    assert done.exit_code == 0 and (tmp_path / "c.png").exists()
    assert "validation accuracy or mean_average_precision" in done.stdout
