"""Whole pipelines recorded on servers, and several in one store at once.  Minutes each."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import command, environment
from PIL import Image
from servers import PASSWORD

from lineage.store.connection import PASSWORD_VARIABLE, Connection
from lineage.store.opening import open_reader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CLASSES = ("klein", "größe")
"""The second one is written with backslashes in JSON."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light images of two classes."""
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for i in range(40):
            shade = 60 + 120 * number + i
            Image.new("RGB", (16, 16), (shade, shade, i)).save(folder / name / f"{i}.png")
    return folder


def start(images: Path, output: Path, store: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(
            *("run", "--data", images, "--name", output.name, "--framework", "pytorch"),
            *("--model", "small_cnn", "--image-size", "16", "--epochs", "1"),
            *("--min-accuracy", "0.05", "--output", output, "--metadata", store),
        ),
        env={**environment(), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], output: Path) -> None:
    said, _ = process.communicate(timeout=1500)
    logs = "\n".join(p.read_text()[-3000:] for p in output.glob("runs/*/log.txt"))
    assert process.returncode == 0, f"{said}\n{logs}"


def arguments_of_all_processes() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            yield path.read_bytes()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_run_is_recorded_on_a_server(kind, images, request, tmp_path, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    url = request.getfixturevalue(kind).url("whole")
    output = tmp_path / "shades"
    process = start(images, output, url)
    while process.poll() is None:
        assert PASSWORD.encode() not in b"".join(arguments_of_all_processes())
        time.sleep(0.2)
    finish(process, output)
    assert not (output / "metadata.sqlite").exists()
    assert json.loads((output / "visionline.json").read_text())["metadata"] == url
    for path in output.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    asked = subprocess.run(
        command("lineage", "model", "shades@1", "--output", output, "--json"),
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert answer["run"]["state"] == "complete"
    assert PASSWORD not in asked.stdout


def test_three_pipelines_write_to_one_file_at_once(images, tmp_path):
    store = tmp_path / "shared.sqlite"
    outputs = [tmp_path / name for name in ("one", "two", "three")]
    running = [start(images, output, str(store)) for output in outputs]
    for process, output in zip(running, outputs, strict=True):
        finish(process, output)
    reader = open_reader(Connection.parse(str(store)))
    runs = {str(c.custom["pipeline"]): c for c in reader.latest_contexts("pipeline_run")}
    assert sorted(runs) == ["one", "three", "two"]
    by_run = reader.executions_in([c.id for c in runs.values()])
    for context in runs.values():
        assert context.custom["state"] == "complete"
        states = [e.state for e in reader.executions(by_run[context.id]).values()]
        assert states == ["COMPLETE"] * 11
    reader.close()
