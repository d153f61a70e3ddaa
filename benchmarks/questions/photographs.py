"""What surrounds a short training: everything but the fit, and the export."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.core.figures import Figure, Measured, Question, ratio, seconds
from benchmarks.core.lab import Lab, median
from benchmarks.core.processes import Checkout
from benchmarks.core.report import steps_table
from benchmarks.core.runs import PAUSE, Run, run_visionline

_IMAGES = 400
_OPTIONS = (
    *("--framework", "pytorch", "--model", "resnet18", "--image-size", "64"),
    *("--epochs", "3", "--min-accuracy", "0.01"),
)
_OLD, _FIRST, _SECOND = "old checkout", "first run", "second run, another learning rate"


def ask(lab: Lab) -> Measured:
    runs = _runs(lab)
    first, second = runs[_FIRST].but_fit, runs[_SECOND].but_fit
    figures: list[Figure]
    if _OLD in runs:
        old = runs[_OLD].but_fit
        figures = [ratio(_FIRST, first, old, reach=0.30), ratio(_SECOND, second, old, reach=0.12)]
    else:
        figures = [seconds(_FIRST, first), seconds(_SECOND, second)]
    columns = {
        name: {**run.steps, "of which fit": run.fit_seconds or 0.0, "whole process": run.seconds}
        for name, run in runs.items()
    }
    return Measured(
        figures=tuple(figures), tables=(steps_table(columns),), rounds=lab.rounds, notes=_told(lab)
    )


def ask_export(lab: Lab) -> Measured:
    runs = _runs(lab)
    figures = [
        seconds("resnet18 at 64 px, PyTorch", runs[_FIRST].after_fit or 0.0, reach=5.0),
        seconds("the same in the second run", runs[_SECOND].after_fit or 0.0),
    ]
    if _OLD in runs:
        figures.append(seconds("the same in the old checkout", runs[_OLD].after_fit or 0.0))
    return Measured(figures=tuple(figures), rounds=lab.rounds)


def _runs(lab: Lab) -> dict[str, Run]:
    """Runs old and new in turns; returns medians."""
    rounds = [
        lab.once_all(f"photographs-{n}{'-against' if lab.old else ''}", lambda: _round(lab))
        for n in range(lab.rounds)
    ]
    return {name: median(r[name] for r in rounds) for name in rounds[0]}


def _round(lab: Lab) -> dict[str, Run]:
    images = lab.count(_IMAGES)
    data = lab.workloads.photographs(images)

    def run(checkout: Checkout, output: Path, *more: str) -> Run:
        return run_visionline(
            data, output, [*_OPTIONS, *more], images=images, checkout=checkout, keep=True
        )

    folder = lab.folder("photographs")
    shutil.rmtree(folder)
    runs = {_OLD: run(lab.old, folder / "old")} if lab.old else {}
    with lab.here.keeping() as here:
        runs[_FIRST] = run(here, folder / "new")
        time.sleep(PAUSE)
        runs[_SECOND] = run(here, folder / "new", "--learning-rate", "0.002")
    shutil.rmtree(folder)
    return runs


def _told(lab: Lab) -> tuple[str, ...]:
    return () if lab.old else ("No older checkout was given (`--against`), so these are seconds.",)


QUESTIONS = (
    Question(
        name="photographs",
        title="Everything but the fit, 400 photographs",
        text="""Whole processes less `train_seconds`: drawn photographs of about 500×375 to 64×64,
resnet18 in PyTorch, 3 epochs, defaults otherwise. Old and new take turns, cold; the second run
follows the first after half a minute, in the same workspace, with what that left behind.""",
        ask=ask,
        peer=_OLD,
        needs_old=True,
    ),
    Question(
        name="export",
        title="PyTorch's export",
        text="""From the last epoch's line to the Trainer's end, in the runs of `photographs`: all
formats, their parity on real images, and what is recorded.""",
        ask=ask_export,
        needs_old=True,
    ),
)
