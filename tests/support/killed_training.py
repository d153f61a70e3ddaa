"""Kills trainings again and again: `python killed_training.py FRAMEWORK FOLDER KILLS SEED`.

Each attempt is a process forked off this one, which has the framework imported; it is killed at
a moment drawn from the time between its first step and its end, mostly while it trains.  What
it comes to in the end is compared with a training that was not killed, bit by bit.  Prints the
counts as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from softmax_regression import bright_and_dark, write_split
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.errors import OutOfRangeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from common.files import read_json
from common.process import progress
from trainers import curves, job, loop  # noqa: F401 - before it forks
from trainers.config import AugmentConfig, CheckpointConfig, TrainConfig
from trainers.contract import load_backend
from trainers.history import FINISHED, HISTORY, TENSORBOARD

MODELS = {
    "keras": """
import keras

def net(num_classes, image_size):
    images = keras.Input((*image_size, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3)(images))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))
""",
    "pytorch": """
from torch import nn

def net(num_classes, image_size):
    pixels = 8 * (image_size[0] - 2) * (image_size[1] - 2)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(pixels, num_classes),
    )
""",
}
TIMES = {"seconds", "images_per_second", "data_wait", "peak_memory_bytes"}
EPOCHS, STEPS = 3, 6
_AT_END = "The training goes on from its end"


@dataclass(frozen=True)
class Outcome:
    """What is left of a training that has ended: all but times."""

    history: list[dict[str, Any]]
    logged: list[tuple[int, dict[str, float]]]
    exported: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    """Of weights, optimizer and generators, after the last step."""

    @classmethod
    def of(cls, training: job.TrainJob) -> Outcome:
        run_dir = Path(training.run_dir)
        (checkpoints,) = Path(training.checkpoint_dir).iterdir()
        last = checkpoints / f"step-{EPOCHS * STEPS:06d}"
        history = [
            {k: v for k, v in epoch.items() if k not in TIMES}
            for epoch in read_json(run_dir / HISTORY)
        ]
        return cls(
            history,
            logged(run_dir / TENSORBOARD),
            dict(np.load(checkpoints / FINISHED / "best.npz")),
            dict(np.load(last / "state.npz")),
        )

    def differs(self, other: Outcome) -> str:
        """Names what is not equal to the bit; "" for nothing."""
        parts = [
            *(["history"] if self.history != other.history else []),
            *(["logged"] if self.logged != other.logged else []),
        ]
        for mine, theirs in ((self.exported, other.exported), (self.state, other.state)):
            if mine.keys() != theirs.keys():
                return "names"
            parts += [k for k in mine if mine[k].tobytes() != theirs[k].tobytes()]
        return ", ".join(parts)


def logged(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Returns what TensorBoard reads of all files in a folder, by step."""
    found = []
    for log in sorted(folder.iterdir()):
        reader = PyRecordReader_New(str(log))
        with contextlib.suppress(OutOfRangeError):
            while True:
                reader.GetNext()
                event = Event.FromString(reader.record())
                values = {v.tag: v.simple_value for v in event.summary.value if v.tag not in TIMES}
                if values:
                    found.append((event.step, values))
    return found


def make_job(framework: str, folder: Path, name: str, optimizer: str) -> job.TrainJob:
    run_dir = folder / name / "run"
    config = TrainConfig(
        framework=framework,
        model="killed_model:net",
        epochs=EPOCHS,
        batch_size=4,
        optimizer=optimizer,  # type: ignore[arg-type]
        threads=1,
        augment=AugmentConfig(rotation=10, brightness=0.2),
        checkpoint=CheckpointConfig(every_steps=1),
    )
    return job.TrainJob(
        config=config,
        train_split=str(folder / "train"),
        val_split=str(folder / "val"),
        class_names=("dark", "bright"),
        transform_graph="",
        model_dir=str(folder / name / "model"),
        run_dir=str(run_dir),
        dataset_digest="",
        transform_digest="",
        checkpoint_dir=str(folder / name / "checkpoints"),
    )


class Attempt:
    """One process that trains."""

    def __init__(self, backend: Any, training: job.TrainJob) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            os.environ[progress.FD_VARIABLE] = str(writing)
            code = 1
            try:
                os.dup2(2, 1)
                backend.configure(threads=1, seed=0)
                job.fit(backend, training)
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        self._events = progress.events(reading)
        self.last: dict[str, Any] = {}

    def wait_for(self, text: str) -> None:
        """Waits for an event in which the text stands."""
        for event in self._events:
            self.last = event
            if text in json.dumps(event):
                return

    def rest(self) -> int:
        self.wait_for("nothing, so to the end of them")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def killed_once(
    backend: Any, training: job.TrainJob, rng: random.Random, seconds: tuple[float, float]
) -> str:
    """Returns when it was killed; "" for an attempt that ended before.

    Args:
      seconds: from its first step to its last, and to its end.
    """
    attempt = Attempt(backend, training)
    attempt.wait_for("")
    trained, whole = seconds
    at_end = attempt.last.get("text", "").startswith(_AT_END)
    if at_end and rng.random() < 0.7:  # or it would rarely come to its end
        attempt.wait_for("nothing, so to the end of them")
    elif at_end or rng.random() < 0.1:
        time.sleep(rng.uniform(trained, whole))
    else:
        time.sleep(rng.uniform(0, trained))
    with contextlib.suppress(ProcessLookupError):
        os.kill(attempt.pid, signal.SIGKILL)
    code = attempt.rest()
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"an attempt failed with exit code {code}")
    if not code:
        return ""
    has_ended = any(Path(training.checkpoint_dir).glob(f"*/{FINISHED}"))
    return "after its last step" if has_ended else "while it trains"


def straight(backend: Any, training: job.TrainJob) -> tuple[Outcome, tuple[float, float]]:
    attempt = Attempt(backend, training)
    attempt.wait_for("")
    began = time.monotonic()
    attempt.wait_for("are exported")
    trained = time.monotonic() - began
    if attempt.rest():
        sys.exit("the training that is not killed failed")
    return Outcome.of(training), (trained, time.monotonic() - began)


def rounds() -> Iterator[tuple[str, int]]:
    number = 0
    while True:
        for optimizer in ("adamw", "sgd"):
            yield optimizer, number
        number += 1


def main(framework: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    (folder / "killed_model.py").write_text(MODELS[framework])
    sys.path.insert(0, str(folder))
    for split, count in (("train", 4 * STEPS), ("val", 512)):
        write_split(folder / split, bright_and_dark(count, size=8, noise=0.2))
    job.preload(framework)
    backend, rng = load_backend(framework), random.Random(seed)
    expected: dict[str, Outcome] = {}
    seconds = {}
    where: Counter[str] = Counter()
    trainings, differing = 0, []
    for optimizer, number in rounds():
        if optimizer not in expected:
            first = make_job(framework, folder, f"straight-{optimizer}", optimizer)
            expected[optimizer], seconds[optimizer] = straight(backend, first)
        if where.total() >= kills:
            break
        training = make_job(framework, folder, f"killed-{optimizer}-{number}", optimizer)
        while moment := killed_once(backend, training, rng, seconds[optimizer]):
            where[moment] += 1
        trainings += 1
        if difference := Outcome.of(training).differs(expected[optimizer]):
            differing.append(difference)
    return {
        "kills": where.total(),
        "trainings": trainings,
        "differing": differing,
        "killed": dict(where),
        "seconds": seconds,
    }


if __name__ == "__main__":
    name, folder_, kills_, seed_ = sys.argv[1:]
    print(json.dumps(main(name, Path(folder_), int(kills_), int(seed_))))
