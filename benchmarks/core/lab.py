"""Where questions are asked: workloads, checkouts, rounds, and what is finished already."""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.core.figures import Question, Result
from benchmarks.core.processes import Checkout
from benchmarks.core.runs import Run, run_stock, run_visionline
from benchmarks.core.workloads import CLASSES, Workloads
from common.config.strict import dump, parse
from common.files import read_json, write_json

FRAMEWORKS = ("keras", "pytorch")
SMALL_CNN = (
    *("--model", "small_cnn", "--image-size", "32", "--batch-size", "64"),
    *("--epochs", "1", "--min-accuracy", "0.01"),
    # The stock pipeline has these splits, plain Adam and no augmentation.
    *("--set", "data.splits={train = 0.8, val = 0.2}"),
    *("--set", "train.augment.horizontal_flip=false"),
    *("--set", "train.augment.crop_padding=0.0", "--set", "train.weight_decay=0.0"),
)
"""Flags of a run that does what the stock pipeline does."""
HERE = Checkout()
_TRIED = 50
_LEAST = 30
"""Of each class in a trial: a model of fewer may be right about none, and is not pushed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """Settings of a measurement, and the folder that holds what is finished.

    Args:
      done: finished questions and runs of this commit; nothing else in it is kept.
      old: a checkout to compare with.
      rounds: how often what is short is measured; medians count.
      is_trial: a fiftieth of the images, to try the harness; the figures mean nothing.
    """

    done: Path
    workloads: Workloads
    old: Checkout | None = None
    rounds: int = 1
    is_trial: bool = False
    here: Checkout = HERE
    commit: str = ""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def count(self, images: int) -> int:
        """Returns how many images to take where a question wants so many."""
        if not self.is_trial:
            return images
        return max(_LEAST * CLASSES, images // _TRIED // CLASSES * CLASSES)

    def folder(self, name: str) -> Path:
        """Returns a folder for one question's own files."""
        folder = self.done / "tmp" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def small_cnn(self, framework: str, images: int, *, rounds: int) -> Run:
        """Returns the medians of cold runs with one epoch of `small_cnn`."""
        options = ["--framework", framework, *SMALL_CNN]
        return median(
            self.once(
                f"{framework}-{images}-{n}",
                lambda: run_visionline(
                    self.workloads.small(images),
                    self.folder("run") / framework,
                    options,
                    images=images,
                    checkout=self.here,
                ),
            )
            for n in range(rounds)
        )

    def stock(self, images: int, *, rounds: int) -> Run:
        """Returns the medians of runs of the stock pipeline, the same otherwise."""
        return median(
            self.once(
                f"stock-{images}-{n}",
                lambda: run_stock(
                    self.workloads.small(images),
                    self.folder("run") / "stock",
                    images=images,
                    epochs=1,
                    image_size=32,
                ),
            )
            for n in range(rounds)
        )

    def once(self, key: str, measure: Callable[[], Run]) -> Run:
        """Returns a run that is finished already, or makes it."""
        return self.once_all(key, lambda: {key: measure()})[key]

    def once_all(self, key: str, measure: Callable[[], dict[str, Run]]) -> dict[str, Run]:
        """Returns runs that belong together, or makes them."""
        path = self.done / "runs" / f"{key}.json"
        if path.exists():
            return {name: parse(Run, run) for name, run in read_json(path).items()}
        runs = measure()
        for name, run in runs.items():
            fit = f", of which the fit {run.fit_seconds:.1f} s" if run.fit_seconds else ""
            self.say(f"  {name}: {run.seconds:.1f} s{fit}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {name: dump(run) for name, run in runs.items()})
        return runs

    def answered(self, question: Question) -> Result | None:
        """Returns what a question came to at this commit, if it was asked with these rounds."""
        path = self._answer(question)
        return parse(Result, read_json(path)) if path.exists() else None

    def keep(self, question: Question, result: Result) -> None:
        """Writes down that a question is finished."""
        path = self._answer(question)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dump(result))

    def _answer(self, question: Question) -> Path:
        against = "-against" if question.needs_old and self.old else ""
        return self.done / "answers" / f"{question.name}-{self.rounds}{against}.json"

    def warm_disk(self) -> None:
        """Reads the libraries once, so that nobody pays for a cold disk."""
        modules = "tfx.v1, tf2onnx, onnxruntime, torch, torchax, onnxscript, timm"
        for python in {c.python for c in (self.here, self.old) if c}:
            command = [python, "-c", f"import {modules}"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def median(runs: Iterable[Run]) -> Run:
    """Returns the run that has the medians of each of their figures."""
    several = list(runs)
    first = several[0]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Run):
        found = [getattr(run, field.name) for run in several]
        if isinstance(found[0], dict):
            keys = [k for k in found[0] if all(k in f for f in found)]
            values[field.name] = {k: _median([f[k] for f in found]) for k in keys}
        else:
            values[field.name] = None if None in found else _median(found)
    return dataclasses.replace(first, **values)


def _median(numbers: list[float]) -> float:
    middle = statistics.median(numbers)
    return round(middle) if isinstance(numbers[0], int) else middle
