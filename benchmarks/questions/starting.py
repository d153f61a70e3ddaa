"""How soon a run shows something, how soon it works, and what it costs when nothing is new."""

from __future__ import annotations

import shutil
import statistics
import time
from collections import defaultdict

from benchmarks.core.figures import Measured, Question, ratio, seconds
from benchmarks.core.lab import SMALL_CNN, Lab
from benchmarks.core.processes import FailedError, times_on_terminal, watch
from benchmarks.core.runs import PAUSE, run_visionline

_IMAGES = 1_000
_IMPORT = "import tfx.v1"
_OPTIONS = ("--framework", "keras", *SMALL_CNN)


def ask(lab: Lab) -> Measured:
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds := max(lab.rounds, 2)):
        for name, value in _round(lab).items():
            found[name].append(value)
    of = {name: statistics.median(values) for name, values in found.items()}
    peer = of[_IMPORT]
    first, piped, running = "first line on a terminal", "first line in a pipe", "first component"
    return Measured(
        figures=(
            ratio("a run with nothing new", of["cached"], peer, reach=0.15),
            ratio(f"{running} running", of[running], peer, reach=0.40),
            seconds(first, of[first], reach=1.0),
            seconds(piped, of[piped], reach=1.0),
        ),
        notes=(f"{lab.count(_IMAGES):,} images, {lab.workloads.small_images}.",),
        rounds=rounds,
    )


def _round(lab: Lab) -> dict[str, float]:
    images = lab.count(_IMAGES)
    data, folder = lab.workloads.small(images), lab.folder("starting")
    shutil.rmtree(folder)
    here = lab.here

    def cold(name: str) -> list[str]:
        output = str(folder / name)
        return here.visionline("run", "--data", str(data), "--output", output, *_OPTIONS)

    piped = watch(
        cold("piped"),
        folder / "piped.log",
        checkout=here,
        until=lambda line: line.rstrip().endswith(": running"),
    )
    terminal = times_on_terminal(
        cold("terminal"), {"first": b"", "running": b"running"}, checkout=here
    )
    imported = watch([here.python, "-c", _IMPORT], folder / "import.log", checkout=here)
    lab.say(f"  {_IMPORT}: {imported.seconds:.1f} s; first component at {terminal['running']:.1f}")

    with here.keeping() as checkout:
        for pause in (PAUSE, 0):
            again = run_visionline(
                data, folder / "again", _OPTIONS, images=images, checkout=checkout, keep=True
            )
            time.sleep(pause)
    if again.steps:
        raise FailedError(f"Expected a run with nothing new, but it ran {', '.join(again.steps)}.")
    lab.say(f"  a run with nothing new: {again.seconds:.1f} s")
    shutil.rmtree(folder)
    return {
        _IMPORT: imported.seconds,
        "cached": again.seconds,
        "first component": terminal["running"],
        "first line on a terminal": terminal["first"],
        "first line in a pipe": piped.lines[0][0],
    }


QUESTIONS = (
    Question(
        name="starting",
        title="Starting, and a run with nothing new",
        text="""Whole processes beside `python -c "import tfx.v1"`. The first line and the first
component: of cold runs in empty workspaces, on a terminal and in a pipe, which are stopped then.
Nothing new: a second run of the same, half a minute after the first, with what that left behind;
every step is from the cache.""",
        ask=ask,
        peer=_IMPORT,
    ),
)
