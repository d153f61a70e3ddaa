"""MLflow: a real server, and one that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import free_port

from trainers import tracking
from trainers.loop import Epoch
from trainers.tracking import MlflowRun, Tracking

HEADLINE = "accuracy"


def epoch(number: int) -> Epoch:
    return Epoch(
        epoch=number,
        loss=2.0 / number,
        metric=0.1 * number,
        val_loss=3.0 / number,
        val_metric=0.09 * number,
        learning_rate=0.01,
        seconds=1.0,
        images_per_second=100.0,
        data_wait=0.001,
        peak_memory_bytes=10**9,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "files")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(uri, process, folder / "log.txt")
        yield uri
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def wait_until_healthy(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    while process.poll() is None:
        try:
            if httpx.get(f"{uri}/health").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def track(uri: str, warnings: list[str], name: str = "run-1") -> MlflowRun:
    return MlflowRun(
        Tracking(uri=uri, experiment="photos", run=name),
        parameters={"learning_rate": 0.01, "augment": {"zoom": 0.0}, "long": "x" * 9000}
        | {f"further_{i}": i for i in range(150)},
        headline=HEADLINE,
        warn=warnings.append,
    )


def test_figures_parameters_and_files_are_there_by_the_names_of_tensorboard(
    server: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    (tmp_path / "history.json").write_text("[]")
    warnings: list[str] = []
    run = track(server, warnings)
    for number in (1, 2, 3):
        run.write(epoch(number))
    run.close(ended_well=True, files=(tmp_path / "history.json", tmp_path / "missing.png"))
    failed = track(server, warnings, "run-2")
    failed.write(epoch(1))
    failed.close(ended_well=False)
    assert warnings == []

    client = MlflowClient(server)
    found = client.get_experiment_by_name("photos")
    first, second = client.search_runs([found.experiment_id], order_by=["start_time"])
    assert (first.info.status, second.info.status) == ("FINISHED", "FAILED")
    assert first.info.run_name == first.data.tags["visionline.run_id"] == "run-1"
    assert first.data.params["learning_rate"] == "0.01"
    assert first.data.params["augment.zoom"] == "0"
    assert first.data.params["further_149"] == "149"
    assert len(first.data.params["long"]) == 6000
    assert set(first.data.metrics) == {
        *("loss/train", "loss/val", "accuracy/train", "accuracy/val"),
        *("learning_rate", "images_per_second", "data_wait", "peak_memory_bytes"),
    }
    history = client.get_metric_history(first.info.run_id, "accuracy/val")
    assert [(m.step, m.value) for m in history] == [(n, pytest.approx(0.09 * n)) for n in (1, 2, 3)]
    assert [f.path for f in client.list_artifacts(first.info.run_id)] == ["history.json"]


def test_a_server_that_is_not_there_is_told_once_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warnings: list[str] = []
    uri = f"http://127.0.0.1:{free_port()}"
    run = track(uri, warnings)
    for number in range(5):
        run.write(epoch(number + 1))
    run.close(ended_well=True)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"MLflow at {uri} has not got all of this training's figures:")


def test_a_server_that_does_not_answer_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_LAST_SECONDS", 0.1)
    held = threading.Event()
    monkeypatch.setattr(MlflowRun, "_begin", lambda *_: held.wait())
    warnings: list[str] = []
    run = track("http://127.0.0.1:1", warnings)
    run.close(ended_well=True)
    held.set()
    assert warnings == [
        "MLflow at http://127.0.0.1:1 has not got all of this training's figures: "
        "it did not answer in time"
    ]
