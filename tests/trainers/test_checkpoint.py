"""Checkpoints, and trainings that go on from them, on a learner that needs no framework."""

from __future__ import annotations

import dataclasses
import itertools
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from softmax_regression import SoftmaxRegression, bright_and_dark

from trainers import checkpoint
from trainers.checkpoint import Checkpoints
from trainers.config import CheckpointConfig, TrainConfig
from trainers.history import FINISHED, checkpoints_in
from trainers.loop import Epoch, train

pytestmark = pytest.mark.quick

TRAIN, VAL = bright_and_dark(30, noise=0.3, seed=2), bright_and_dark(20, seed=1)
ONES = np.ones(2, np.float32)
EPOCHS, STEPS = 4, 4
"""Of which four are in an epoch."""
EACH_STEP = CheckpointConfig(every_steps=1)
TIMES = {"seconds", "images_per_second", "data_wait", "peak_memory_bytes"}


@pytest.fixture(scope="module", autouse=True)
def without_sync() -> Iterator[None]:
    """A busy disk takes long over it, and nothing here loses its power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "sync_directory", lambda path: None)
        yield


class Killed(BaseException):
    """Stands for a signal: nothing of the training gets to act on it."""


class Mortal(SoftmaxRegression):
    """Dies in a step; draws from the generators of Python and NumPy as a model's code may."""

    left = -1

    def train_step(self, batch: Any, learning_rate: float) -> Any:
        self.left -= 1
        if self.left == 0:
            raise Killed
        return super().train_step(batch, learning_rate * (1 + np.random.normal() / 10))


@dataclasses.dataclass
class Attempt:
    learner: Mortal
    notes: list[str]
    epochs: list[Epoch] | None
    """None: it died."""
    steps: int


def attempt(
    folder: Path,
    *,
    dies: int = -1,
    config: CheckpointConfig = EACH_STEP,
    identity: dict[str, Any] | None = None,
    **values: Any,
) -> Attempt:
    np.random.seed(1)
    learner, notes = Mortal(12, 2), list[str]()
    learner.left = dies
    checkpoints = Checkpoints(folder, config, identity or {"config": 1}, notes.append)
    given_: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 8, "learning_rate": 1.0, **values}
    given_ |= {"ema_decay": 0.9} if given_.get("best") == "ema" else {}
    try:
        epochs = train(
            learner,
            TrainConfig(framework="keras", model="m", **given_),
            TRAIN,
            VAL,
            ONES,
            report=lambda progress: None,
            checkpoints=checkpoints,
            start=checkpoints.newest(),
        )
    except Killed:
        checkpoints.wait()
        epochs = None
    return Attempt(learner, notes, epochs, len(learner.batches))


def without_times(epochs: list[Epoch]) -> list[dict[str, Any]]:
    return [{k: v for k, v in dataclasses.asdict(e).items() if k not in TIMES} for e in epochs]


@pytest.fixture(scope="module", params=["accuracy", "last", "ema"])
def straight(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    done = attempt(tmp_path_factory.mktemp("straight"), best=request.param)
    return request.param, done, tmp_path_factory


@settings(deadline=None, max_examples=20)
@given(
    deaths=st.lists(st.integers(1, 6), max_size=12),
    every=st.integers(1, 5),
    keep=st.integers(1, 3),
)
def test_a_training_that_dies_anywhere_ends_as_one_that_does_not(
    straight: Any, deaths: list[int], every: int, keep: int
) -> None:
    best, expected, factory = straight
    folder = factory.mktemp("killed")
    config = CheckpointConfig(every_steps=every, keep=keep)
    for death in deaths:
        attempt(folder, dies=death, config=config, best=best)
    done = attempt(folder, config=config, best=best)
    assert (done.learner.weights_PC == expected.learner.weights_PC).all()
    assert without_times(done.epochs) == without_times(expected.epochs)
    assert done.steps <= EPOCHS * STEPS
    again = attempt(folder, config=config, best=best)
    assert again.steps == 0, "it has ended"
    assert (again.learner.weights_PC == expected.learner.weights_PC).all()
    assert again.epochs == done.epochs
    shutil.rmtree(folder)


def test_it_goes_on_after_the_last_step_that_was_kept(tmp_path: Path) -> None:
    attempt(tmp_path, dies=8)
    assert checkpoints_in(tmp_path)[0].name == "step-000007"
    assert attempt(tmp_path).steps == EPOCHS * STEPS - 7
    assert checkpoints_in(tmp_path)[0].name == FINISHED


def test_seconds_add_up_over_attempts(tmp_path: Path) -> None:
    attempt(tmp_path, dies=4)
    position = json.loads((tmp_path / "step-000003" / "position.json").read_text())
    assert position["seconds"] > 0
    epochs = attempt(tmp_path).epochs
    assert epochs[0].seconds > position["seconds"]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept_and_equal_weights_once(tmp_path: Path, keep: int) -> None:
    attempt(tmp_path, dies=12, config=CheckpointConfig(every_steps=1, keep=keep))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"step-{n:06d}" for n in range(12 - keep, 12)]
    files = [tmp_path / name / "best.npz" for name in kept]
    assert len({f.stat().st_ino for f in files if f.exists()}) == 1


def spoil(path: Path, how: str, name: str) -> None:
    file = path / name
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif how == "flipped":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif how == "empty":
        file.write_bytes(b"")


@pytest.mark.parametrize("how", ["missing", "cut", "flipped", "empty"])
@pytest.mark.parametrize("name", ["position.json", "state.npz", "best.npz", "manifest.json"])
def test_a_torn_one_is_never_loaded_but_the_one_before(tmp_path: Path, how: str, name: str) -> None:
    attempt(tmp_path, dies=8)
    for kept in ("step-000006", "step-000007"):  # files of their own
        best = tmp_path / kept / "best.npz"
        content = best.read_bytes()
        best.unlink()
        best.write_bytes(content)
    spoil(tmp_path / "step-000007", how, name)
    done = attempt(tmp_path)
    assert done.steps == EPOCHS * STEPS - 6
    (said,) = done.notes
    assert said.startswith(f"The checkpoint {tmp_path / 'step-000007'} is not used: ")


def test_without_a_whole_one_it_starts_anew_and_what_is_unusable_goes(tmp_path: Path) -> None:
    attempt(tmp_path, dies=8)
    for path in tmp_path.iterdir():
        spoil(path, "empty", "state.npz")
    (tmp_path / ".step-000008.tmp").mkdir()
    done = attempt(tmp_path, dies=3)
    assert done.steps == 2 and len(done.notes) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000001", "step-000002"]


def test_one_of_another_training_is_not_loaded_and_it_is_said_why(tmp_path: Path) -> None:
    attempt(tmp_path, dies=8, identity={"config": 1, "code": "a", "data": 1})
    done = attempt(tmp_path, identity={"config": 1, "code": "b", "data": 2})
    assert done.steps == EPOCHS * STEPS
    assert "of another training, whose code, data differ" in done.notes[0]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_keeps_the_last_one_and_the_training_goes_on(tmp_path: Path) -> None:
    attempt(tmp_path, dies=8)
    with files_of_at_most(1000):
        done = attempt(tmp_path, dies=3)
    assert done.steps == 2
    assert [p.name for p in tmp_path.iterdir() if p.name == "step-000007"] == ["step-000007"]
    assert not list(tmp_path.glob(".*"))
    assert len(done.notes) == 2
    last = tmp_path / "step-000007"
    assert f"could not be written to {tmp_path}, {last} stays the last one" in done.notes[0]
    assert attempt(tmp_path).steps == EPOCHS * STEPS - 7


def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, EACH_STEP, {}, pytest.fail)
    for step, value in enumerate([-np.inf, np.nan, 1.0, np.nan]):  # masks are infinite
        checkpoints.save(step, {"best": 0}, lambda v=value: {"a": np.array([v])}, None)
    checkpoints.wait()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000", "step-000002"]


class Clock:
    """Turns only when it is told to, and when a checkpoint's files are summed."""

    def __init__(self, patch: pytest.MonkeyPatch, cost: float) -> None:
        self.now = 0.0
        patch.setattr(checkpoint.time, "monotonic", lambda: self.now)
        sha256 = checkpoint.sha256_file

        def slow(path: Path) -> str:
            self.now += cost
            return sha256(path)

        patch.setattr(checkpoint, "sha256_file", slow)


@pytest.mark.parametrize("cost", [0.001, 5.0])
def test_by_minutes_they_take_at_most_a_fiftieth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    clock = Clock(monkeypatch, cost)
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(every_minutes=0.5), {}, pytest.fail)
    steps, written = itertools.count(1), 0
    while clock.now < 10_000:
        clock.now += 1
        if checkpoints.is_due(step := next(steps)):
            checkpoints.save(step, {"best": 0}, lambda: {"a": np.zeros(1)}, None)
            checkpoints.wait()
            written += 1
    assert written * 2 * cost <= 0.02 * clock.now
    assert written >= (300 if cost < 1 else 15)


def test_zero_switches_them_off(tmp_path: Path) -> None:
    off = CheckpointConfig(every_minutes=0)
    checkpoints = Checkpoints(tmp_path, off, {}, pytest.fail)
    assert not any(map(checkpoints.is_due, range(1000)))
