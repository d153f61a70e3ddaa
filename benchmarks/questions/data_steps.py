"""The steps before the training: ingestion, statistics, arrays."""

from __future__ import annotations

from pathlib import Path

from benchmarks.core.figures import Measured, Question, ratio, seconds
from benchmarks.core.lab import SMALL_CNN, Lab
from benchmarks.core.machine import cpus
from benchmarks.core.peers import ask_peer
from benchmarks.core.report import steps_table
from benchmarks.core.runs import TRAINER, Run, run_visionline

_DESCRIBING = ("StatisticsGen", "SchemaGen", "ExampleValidator")
_ARRAYS = ("ArrayGen", "Transform")
"""The step that makes the training arrays; before there was one, the other did most of it."""


def to_trainer(lab: Lab, name: str, data: Path, images: int, size: int) -> Run:
    """Returns a run of the data steps, stopped where the Trainer begins."""
    options = ["--framework", "keras", *SMALL_CNN, "--image-size", str(size)]
    return lab.once(
        f"data-{name}-{images}",
        lambda: run_visionline(
            data,
            lab.folder("data") / name,
            options,
            images=images,
            checkout=lab.here,
            until=TRAINER,
        ),
    )


def ask_ingestion(lab: Lab) -> Measured:
    figures = []
    for name, data, images, size in _workloads(lab):
        run = to_trainer(lab, name, data, images, size)
        bare = ask_peer(lab.here, "ingestion", str(data))["seconds"]
        rate, peer = images / run.steps["ImageExampleGen"], images / bare
        figures.append(
            ratio(f"{images:,} {name}", rate, peer, reach=0.6, at_least=True, of="images/s")
        )
    return Measured(figures=tuple(figures), notes=(_small(lab),))


def ask_statistics(lab: Lab) -> Measured:
    images = lab.count(10_000)
    run = lab.small_cnn("keras", images, rounds=lab.rounds)
    steps = {name: run.steps[name] for name in _DESCRIBING}
    return Measured(
        figures=(seconds(f"{images:,} images", sum(steps.values()), reach=1.5),),
        tables=(steps_table({f"{images:,} images": steps}),),
        rounds=lab.rounds,
        notes=(_small(lab),),
    )


def ask_arrays(lab: Lab) -> Measured:
    figures, made_by = [], set()
    for name, data, images, size in _workloads(lab):
        run = to_trainer(lab, name, data, images, size)
        step = next(s for s in _ARRAYS if s in run.steps)
        made_by.add(step)
        tf_data = ask_peer(lab.here, "decoding", str(data), str(size))["seconds"]
        rate, peer = images / run.steps[step], images / tf_data
        what = f"{images:,} {name} to {size} px"
        figures.append(ratio(what, rate, peer, reach=0.6, at_least=True, of="images/s"))
    return Measured(
        figures=tuple(figures), notes=(f"Made by {', '.join(sorted(made_by))}. {_small(lab)}",)
    )


def _workloads(lab: Lab) -> list[tuple[str, Path, int, int]]:
    small, photographs = lab.count(50_000), lab.count(2_000)
    return [
        ("small images", lab.workloads.small(small), small, 32),
        ("photographs", lab.workloads.photographs(photographs), photographs, 224),
    ]


def _small(lab: Lab) -> str:
    return f"Small images: {lab.workloads.small_images}; {cpus()} CPUs."


QUESTIONS = (
    Question(
        name="ingestion",
        title="Ingestion beside a bare loop",
        text="""ImageExampleGen's seconds, by its record, beside a loop that reads, decodes (with
Pillow too) and writes TFRecords in a process for each CPU, which hashes nothing, notes nothing
and splits nothing. The loop's processes are started before it is timed.""",
        ask=ask_ingestion,
        peer="bare loop",
    ),
    Question(
        name="statistics",
        title="Statistics, schema and validation",
        text="Seconds of the three steps together, by their record, in the runs of `stock-10000`.",
        ask=ask_statistics,
    ),
    Question(
        name="arrays",
        title="Training arrays beside `tf.data`",
        text="""Decode and resize: the seconds of the step that makes the arrays, by its record,
reading and writing included, beside a `tf.data` pipeline over the same encoded bytes, which are in
memory, with `AUTOTUNE` and TensorFlow's threads as they come; imports are not counted.""",
        ask=ask_arrays,
        peer="tf.data",
    ),
)
