"""A whole run beside a stock TFX pipeline."""

from __future__ import annotations

from functools import partial

from benchmarks.core.figures import Figure, Measured, Question, ratio
from benchmarks.core.lab import FRAMEWORKS, Lab
from benchmarks.core.report import steps_table
from benchmarks.core.runs import Run

STOCK = "stock TFX"
_SAME = {"ImageExampleGen": "ExampleGen", "ImportExampleGen": "ExampleGen"}
_RECORDS = "TFRecords by hand"


def ask(lab: Lab, *, images: int, reach: float, rounds: int | None) -> Measured:
    images, rounds = lab.count(images), rounds or lab.rounds
    runs = {STOCK: lab.stock(images, rounds=rounds)}
    runs |= {f: lab.small_cnn(f, images, rounds=rounds) for f in FRAMEWORKS}
    stock = runs[STOCK]
    figures: list[Figure] = []
    for framework in FRAMEWORKS:
        run = runs[framework]
        figures += [
            ratio(f"{framework}, whole process", run.seconds, stock.seconds, reach=reach),
            ratio(f"{framework}, its CPU time", run.cpu_seconds, stock.cpu_seconds),
        ]
    accuracies = ", ".join(f"{name} {run.accuracy:.3f}" for name, run in runs.items())
    return Measured(
        figures=tuple(figures),
        tables=(steps_table({n: _column(r) for n, r in runs.items()}, against=STOCK),),
        notes=(
            f"{images:,} images, {lab.workloads.small_images}. Accuracy on held-out images: "
            f"{accuracies}.",
        ),
        rounds=rounds,
    )


def _column(run: Run) -> dict[str, float]:
    steps = {_SAME.get(name, name): seconds for name, seconds in run.steps.items()}
    records = {_RECORDS: steps.pop(_RECORDS)} if _RECORDS in steps else {}
    example_gen = steps.pop("ExampleGen")
    return {
        **records,
        "ExampleGen": example_gen,
        "images to Examples, together": example_gen + sum(records.values()),
        **steps,
        "of which fit": run.fit_seconds or 0.0,
        "imports and the rest": run.rest,
        "**whole process**": run.seconds,
        "CPU time of it": run.cpu_seconds,
    }


_TEXT = """From a folder of JPEGs to a pushed model, one epoch of the 3-block `small_cnn` at 32×32;
stock TFX with its TFRecord step. What is equal and what is not is in
[README.md](README.md#beside-stock-tfx)."""
QUESTIONS = (
    Question(
        name="stock-10000",
        title="A whole run beside stock TFX, 10,000 images",
        text=_TEXT,
        ask=partial(ask, images=10_000, reach=0.40, rounds=None),
        peer=STOCK,
    ),
    Question(
        name="stock-50000",
        title="A whole run beside stock TFX, 50,000 images",
        text=_TEXT,
        ask=partial(ask, images=50_000, reach=0.35, rounds=1),
        level="full",
        peer=STOCK,
    ),
)
