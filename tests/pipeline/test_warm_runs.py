"""A run that is forked from what a former one left is the run that it would be without."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import command, environment
from helpers import wait_until
from PIL import Image
from sklearn.datasets import load_digits

from common.process.warm import folder

MEASURED = {"seconds", "images_per_second", "data_wait", "peak_memory_bytes"}
pytestmark = [pytest.mark.pipelines, pytest.mark.timeout(900)]

MODEL = """
from torch import nn

def net(num_classes, image_size):
    hidden = {hidden}
    return nn.Sequential(
        nn.Conv2d(3, hidden, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(hidden, num_classes),
    )
"""


class Home:
    """A folder with images and a model, and servers of its own."""

    def __init__(self, root: Path, runtime: str) -> None:
        self.root = root
        self.environment = {
            **environment(),
            "XDG_RUNTIME_DIR": runtime,
            folder.IDLE_VARIABLE: "5",
        }
        digits = load_digits(n_class=2)
        for index, (pixels, label) in enumerate(
            zip(digits.images[:60], digits.target, strict=False)
        ):
            path = root / "images" / str(label) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15).astype("uint8")).save(path)

    def start(self, output: str, *options: str) -> subprocess.Popen[str]:
        words = ["--data", "images", "--framework", "pytorch", "--model", "mine:net"]
        words += ["--image-size", "16", "--min-accuracy", "0.1", "--output", output]
        return subprocess.Popen(
            command("run", *words, *options),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, output: str) -> tuple[dict[str, Any], list[Any]]:
        """Runs one epoch; returns summary and history, without times."""
        front = self.start(output, "--epochs", "1")
        printed, _ = front.communicate(timeout=600)
        assert front.returncode == 0, printed
        (history,) = (self.root / output / "artifacts/Trainer/model_run").glob("*/history.json")
        epochs = json.loads(history.read_text())
        figures = [{k: v for k, v in e.items() if k not in MEASURED} for e in epochs]
        (summary,) = (self.root / output / "runs").glob("*/summary.json")
        return json.loads(summary.read_text()), figures


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    runtime = tempfile.mkdtemp(dir="/tmp")  # a socket's path has 107 bytes at most
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    made = Home(tmp_path, runtime)
    yield made
    subprocess.run(command("stop"), env=made.environment, check=True)
    shutil.rmtree(runtime)


def servers(home: Home) -> list[str]:
    """Command lines of the processes that stay."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "common.process.warm.server" in words and home.environment["XDG_RUNTIME_DIR"] in words:
            found.append(words)
    return found


def test_it_trains_the_same_and_sees_code_that_was_edited(home: Home) -> None:
    (home.root / "mine.py").write_text(MODEL.format(hidden=4))
    summary, figures = home.run("cold")
    wait_until(lambda: len(folder.sockets()) == 2, 120)
    again, same = home.run("warm")
    assert same == figures
    assert again["accuracy"] == summary["accuracy"]
    assert again["dataset_digest"] == summary["dataset_digest"]

    (home.root / "mine.py").write_text(MODEL.format(hidden=8))
    assert home.run("edited")[1] != figures

    front = home.start("stopped", "--epochs", "100000")
    assert front.stdout is not None
    for line in front.stdout:
        if "epoch 2/" in line:
            break
    assert len(servers(home)) > 2, "they are forked"
    front.send_signal(signal.SIGKILL)
    front.wait()
    wait_until(lambda: len(servers(home)) == 2, 120)
