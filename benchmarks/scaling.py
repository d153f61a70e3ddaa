"""The table of docs/scaling.md: what a million images cost on one machine, by step."""

from __future__ import annotations

from benchmarks.core.machine import ROOT
from benchmarks.core.report import Results, between_markers, markdown
from benchmarks.core.runs import TRAINER, Run
from common.config.strict import parse
from common.errors import ConfigError

PAGE = ROOT / "docs" / "scaling.md"
MARKER = "scaling"
GROWTH = "growth"
_MILLION = 10**6


def table(results: Results) -> str:
    """Renders minutes for a million images by step, from the runs that `growth` kept.

    The Trainer's are for one epoch of the small network at 32×32.

    Raises:
      ConfigError: `growth` was not measured.
    """
    if GROWTH not in results:
        raise ConfigError(
            f"Expected the figures of {GROWTH!r} in benchmarks/results.json, found none. "
            "`python -m benchmarks full` measures them."
        )
    result = results[GROWTH]
    runs = {name: parse(Run, run) for name, run in result.measured.runs.items()}
    steps = list(dict.fromkeys(step for run in runs.values() for step in run.steps))
    rows = []
    for step in steps:
        note = " (an epoch, and the export)" if step == TRAINER else ""
        rows.append(
            [f"{step}{note}", *(_minutes(run, run.steps.get(step)) for run in runs.values())]
        )
    rows.append(["the whole process", *(_minutes(r, r.seconds) for r in runs.values())])
    images = next(iter(runs.values())).images
    measured = (
        f"Measured on {images:,} images and multiplied, {result.day}; {result.machine}; commit "
        f"{result.commit}:"
    )
    return f"{measured}\n\n" + markdown(["minutes for a million images", *runs], rows)


def _minutes(run: Run, seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / run.images * _MILLION / 60:.1f}"


def write_scaling(results: Results) -> None:
    """Writes the table into docs/scaling.md, and prints it."""
    made = table(results)
    PAGE.write_text(between_markers(PAGE.read_text("utf-8"), MARKER, made), "utf-8")
    print(made)
