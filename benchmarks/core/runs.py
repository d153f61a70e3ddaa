"""Pipelines as whole processes, and what their own record says of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.core.processes import Checkout, FailedError, Watched, watch
from common.files import read_json

TRAINER = "Trainer"
_RUNNING = re.compile(r"(\w+): running$")
_ENDED = re.compile(r"(\w+): (done|cached)")
_START = "start"
PAUSE = 30
"""Seconds that somebody takes between two runs; what the first left behind imports meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pipeline from the start of its process to its end, or to where it was stopped."""

    images: int
    seconds: float
    """Of the whole process."""
    cpu_seconds: float
    steps: dict[str, float]
    """Seconds of each component that did work, from the metadata store."""
    first_line: float
    """Seconds until something was printed."""
    after_fit: float | None = None
    """Seconds from the last epoch's line to the Trainer's end."""
    memory: dict[str, int] = field(default_factory=dict)
    """Most resident bytes while a component ran, all processes together."""
    fit_seconds: float | None = None
    accuracy: float | None = None

    @property
    def rest(self) -> float:
        """Seconds that no component accounts for."""
        return self.seconds - sum(self.steps.values())

    @property
    def but_fit(self) -> float:
        """Seconds of everything but the fit."""
        return self.seconds - (self.fit_seconds or 0.0)


def run_visionline(
    data: Path,
    output: Path,
    options: Sequence[str],
    *,
    images: int,
    checkout: Checkout,
    until: str | None = None,
    samples_a_second: float = 0.0,
    before: Callable[[], None] | None = None,
    keep: bool = False,
) -> Run:
    """Runs `visionline run` and reads its record.

    Args:
      output: the workspace; removed before, unless it is to be run in again, and after.
      until: the component before which it is stopped.
      samples_a_second, before: see `benchmarks.core.processes.watch`.
      keep: leaves the workspace, and runs in one that is there.

    Raises:
      FailedError: the run failed.
    """
    if not keep:
        shutil.rmtree(output, ignore_errors=True)
    words = checkout.visionline("run", "--data", str(data), "--output", str(output), *options)
    watched = watch(
        words,
        output.with_suffix(".log"),
        checkout=checkout,
        until=(lambda line: line.startswith(f"{until}: running")) if until else None,
        samples_a_second=samples_a_second,
        before=before,
    )
    run_dir = max((output / "runs").iterdir())
    summary = {} if until else read_json(run_dir / "summary.json")
    run = of_watched(
        watched,
        images=images,
        steps=recorded_steps(output, run_dir.name, checkout),
        fit_seconds=summary.get("train_seconds"),
        accuracy=summary.get("accuracy"),
    )
    if not keep:
        shutil.rmtree(output)
    return run


def of_watched(watched: Watched, **known: Any) -> Run:
    """Puts a watched process and what its record says together."""
    last_epoch = watched.last(lambda line: line.startswith(f"{TRAINER}: epoch"))
    trained = watched.last(lambda line: line.startswith(f"{TRAINER}: done"))
    return Run(
        seconds=watched.seconds,
        cpu_seconds=watched.cpu_seconds,
        first_line=watched.lines[0][0] if watched.lines else watched.seconds,
        after_fit=trained - last_epoch if trained and last_epoch else None,
        memory=memory_by_step(watched),
        **known,
    )


def memory_by_step(watched: Watched) -> dict[str, int]:
    """Returns the most bytes that were seen while each component ran, and before the first."""
    changes = [(when, line) for when, line in watched.lines]
    peaks: dict[str, int] = {}
    running, at = {_START}, 0
    for when, size in watched.memory:
        while at < len(changes) and changes[at][0] <= when:
            line, at = changes[at][1], at + 1
            if begun := _RUNNING.match(line):
                running = (running - {_START}) | {begun[1]}
            elif ended := _ENDED.match(line):
                running = running - {ended[1]}
        for step in running:
            peaks[step] = max(size, peaks.get(step, 0))
    return peaks


def recorded_steps(output: Path, run_id: str, checkout: Checkout) -> dict[str, float]:
    """Returns the seconds of each component that did work in a run, as the store has them."""
    words = checkout.visionline("lineage", "run", run_id, "--output", str(output), "--json")
    done = subprocess.run(
        words, cwd=checkout.root, env=checkout.environment, capture_output=True, text=True
    )
    if done.returncode:
        raise FailedError(f"The record of {output} cannot be read: {done.stderr.strip()}")
    steps = json.loads(done.stdout)["steps"]
    return {
        s["component"]: s["duration_seconds"]
        for s in steps
        if s["state"] == "COMPLETE" and s["duration_seconds"] is not None
    }


def run_stock(data: Path, output: Path, *, images: int, epochs: int, image_size: int) -> Run:
    """Runs the stock TFX pipeline, TFRecords by hand first."""
    shutil.rmtree(output, ignore_errors=True)
    words = ["--images", str(data), "--output", str(output)]
    words += ["--epochs", str(epochs), "--image-size", str(image_size)]
    here = Checkout()
    command = here.module("benchmarks.stock.pipeline", *words)
    watched = watch(command, output.with_suffix(".log"), checkout=here)
    report = read_json(output / "report.json")
    steps = {"TFRecords by hand": report["records_seconds"], **stock_steps(output, here)}
    run = of_watched(
        watched,
        images=images,
        steps=steps,
        fit_seconds=report["fit_seconds"],
        accuracy=report["accuracy"],
    )
    shutil.rmtree(output)
    return run


def stock_steps(output: Path, checkout: Checkout) -> dict[str, float]:
    """Returns the seconds of each component of a stock run, by the timestamps in its store.

    In a process of its own: the store's library stays out of this one.
    """
    command = checkout.module("benchmarks.stock.executions", str(output / "metadata.sqlite"))
    done = subprocess.run(
        command, cwd=checkout.root, env=checkout.environment, capture_output=True, text=True
    )
    if done.returncode:
        raise FailedError(f"The record of {output} cannot be read: {done.stderr.strip()}")
    steps: dict[str, float] = json.loads(done.stdout)
    return steps
