"""Runs that are killed, in one order after the other, in one folder.

Nothing is left running, the next run starts at once, and what a training had learned is there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Store, command, environment
from helpers import wait_until
from processes import kill_all, marked
from sklearn.datasets import load_digits

from lineage.store.workspace import Workspace

pytestmark = [pytest.mark.pipelines, pytest.mark.timeout(1800)]
MULTI = ("--beam-arg=--direct_running_mode=multi_processing", "--beam-arg=--direct_num_workers=2")


class Run:
    """A run by the command line, whose processes all bear a mark."""

    def __init__(self, root: Path, *options: str) -> None:
        self.workspace = root / "out"
        self._before = Workspace(self.workspace).run_ids()
        self.mark = uuid.uuid4().hex
        arguments = ["--data", root / "images", "--framework", "pytorch", "--model", "small_cnn"]
        arguments += ["--image-size", "16", "--min-accuracy", "0.1", "--output", self.workspace]
        self.words = ["run", *arguments, *options]
        self.front = subprocess.Popen(
            command(*self.words),
            env={**environment(), "VISIONLINE_TEST_MARK": self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed: list[str] = []

    def wait_for(self, text: str) -> None:
        assert self.front.stdout is not None
        for line in self.front.stdout:
            self.printed.append(line)
            if text in line:
                return
        pytest.fail(f"no {text!r} in:\n{''.join(self.printed)}")

    def process(self, text: str) -> int:
        found: list[int] = []

        def look() -> bool:
            listed = marked(self.mark).items()
            found[:] = [p for p, words in listed if text in words and "warden.py" not in words]
            return bool(found)

        wait_until(look, 300)
        return found[0]

    def kill(self, victim: str, number: signal.Signals) -> None:
        os.kill(self.front.pid if victim == "front" else self.process(victim), number)

    def rest(self) -> str:
        """The exit code is there when it returns, and nothing of the run is left."""
        output, _ = self.front.communicate(timeout=300)
        wait_until(lambda: not marked(self.mark), 120)
        return "".join(self.printed) + output

    @cached_property
    def id(self) -> str:
        """To be asked for before the next run is started."""
        (own,) = Workspace(self.workspace).run_ids() - self._before
        return own

    @property
    def recorded(self) -> dict[str, Any]:
        return Store(self.workspace).run(self.id)

    @property
    def trainer(self) -> dict[str, Any]:
        """The properties of its Trainer's execution."""
        return Store(self.workspace).executions(self.id)["Trainer"]

    @property
    def training(self) -> Path:
        return Workspace(self.workspace).run_dir(self.id) / "training"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty digits of two classes."""
    from PIL import Image

    root = tmp_path_factory.mktemp("endings")
    digits = load_digits(n_class=2)
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if index < 60:
            folder = root / "images" / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15).astype("uint8")).save(folder / f"{index}.png")
    return root


@pytest.fixture
def start(root: Path) -> Iterator[Any]:
    runs: list[Run] = []

    def begin(*options: str) -> Run:
        runs.append(Run(root, *options))
        return runs[-1]

    yield begin
    for run in runs:
        kill_all(run.mark)
        run.front.wait()


def state_shown(cli: Cli, run: Run) -> dict[str, Any]:
    listed = json.loads(cli("lineage", "runs", "--output", run.workspace, "--json").stdout)
    (found,) = (r for r in listed["runs"] if r["run_id"] == run.id)
    return dict(found)


def test_killed_front_in_the_first_step_and_the_next_run_at_once(start: Any, cli: Cli) -> None:
    first = start()
    first.wait_for("ImageExampleGen: running")
    assert state_shown(cli, first)["state"] == "running"
    first.kill("front", signal.SIGKILL)
    second = start(*MULTI)  # waits for the first to end
    first.rest()
    assert first.recorded["state"] == "cancelled"
    second.wait_for("ImageExampleGen: running")
    second.process("sdk_worker_main")
    second.kill("front", signal.SIGTERM)
    printed = second.rest()
    assert second.front.returncode == 128 + signal.SIGTERM
    assert "run the same command again" in printed and "Traceback" not in printed
    assert second.recorded["state"] == "cancelled"


ENDLESS = ("--epochs", "100000", "--set", "train.checkpoint.every_steps=1")


def goes_on(run: Run) -> None:
    run.wait_for("Note: The training goes on from epoch ")
    run.wait_for("Trainer: epoch ")


def test_killed_in_each_order_while_it_trains(start: Any, cli: Cli) -> None:
    killed = start(*ENDLESS)
    killed.wait_for("epoch 2/")
    killed.kill("pipeline.run.orchestrate", signal.SIGKILL)
    assert "killed by SIGKILL" in killed.rest()
    assert killed.front.returncode == 1
    assert killed.recorded["state"] == "running", "nobody was left to say otherwise"
    shown = state_shown(cli, killed)
    assert shown["state"] == "failed" and "Trainer: the process that ran it" in shown["error"]

    training = start(*ENDLESS)
    goes_on(training)
    training.kill("trainers.job", signal.SIGKILL)
    printed = training.rest()
    assert training.front.returncode == 1
    assert "Trainer: failed" in printed and "memory" in printed, "what kills so, as a rule"
    assert str(training.training) in printed and "Traceback" not in printed
    assert training.recorded["state"] == "failed"
    assert training.trainer["state"] == "FAILED" and "SIGKILL" in training.trainer["error"]
    assert killed.recorded["state"] == "failed", "found by the next run"

    told = start(*ENDLESS)
    goes_on(told)
    other = cli(*told.words)
    assert other.returncode == 1 and "Another run is using" in other.stderr
    told.kill("front", signal.SIGINT)
    printed = told.rest()
    assert told.front.returncode == 128 + signal.SIGINT
    assert "run the same command again" in printed
    assert str(told.training) in printed and "Traceback" not in printed
    assert told.recorded["state"] == "cancelled"
    assert told.trainer["state"] == "CANCELED" and "interrupted" in told.trainer["error"]
    with Workspace(told.workspace).lock():
        pass

    unread = start(*ENDLESS)
    goes_on(unread)
    unread.front.stdout.close()  # as `visionline run | head` does
    unread.front.wait(120)
    wait_until(lambda: not marked(unread.mark), 120)
    assert unread.front.returncode == 128 + signal.SIGPIPE
    assert unread.recorded["state"] == "cancelled"

    alone = start(*ENDLESS)
    goes_on(alone)
    alone.kill("front", signal.SIGKILL)
    alone.rest()
    assert alone.recorded["state"] == "cancelled"
    for run in (killed, training, told, unread, alone):
        history = json.loads((run.training / "history.json").read_text())
        assert [e["epoch"] for e in history] == list(range(1, len(history) + 1))
        assert len(history) >= (2 if run is killed else 1)
        assert (run.training / "tensorboard").is_dir()
        if run is not killed:  # nobody was left to draw
            assert (run.training / "training_curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_next_run_completes_and_takes_nothing_half_made(start: Any) -> None:
    """Killed in its export, then suspended and taken up again on the way."""
    killed = start("--epochs", "1")
    ended = killed.workspace.glob
    wait_until(lambda: any(ended("checkpoints/*/finished")) or killed.front.poll() is not None, 300)
    killed.kill("trainers.job", signal.SIGKILL)
    assert "/finished; the same command goes on from there" in killed.rest()
    assert killed.front.returncode == 1
    run = start("--epochs", "1")
    run.wait_for("Transform: cached")
    for number in (signal.SIGTSTP, signal.SIGCONT):
        run.kill("front", number)
    printed = run.rest()
    assert run.front.returncode == 0, printed
    assert "Note: The training goes on from its end, after epoch 1 (" in printed
    assert "Note: The weights of epoch 1 of 1 are exported: " in printed
    assert "Trainer: epoch" not in printed, "no step is taken again"
    assert not any(run.workspace.glob("checkpoints/*/finished"))
    assert run.recorded["state"] == "complete"
    assert not run.training.exists(), "it is the Trainer's output now"
    (made,) = (run.workspace / "artifacts/Trainer/model_run").glob("*/history.json")
    assert len(json.loads(made.read_text())) == 1
    states = Store(run.workspace).states(run.id)
    assert set(states.values()) <= {"COMPLETE", "CACHED"}
    shutil.rmtree(run.workspace)
