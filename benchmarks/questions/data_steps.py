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
    for name, data, images, _ in _workloads(lab, small=10_000):
        words = ["--images", str(data), "--rounds", str(lab.rounds), "--json"]
        found = ask_peer(lab.here, "ingestion", *words)
        rate, bare = (images / found[key]["seconds"] for key in ("ingestion", "bare"))
        figures.append(
            ratio(f"{images:,} {name}", rate, bare, reach=0.6, at_least=True, of="images/s")
        )
    return Measured(figures=tuple(figures), rounds=lab.rounds, notes=(_small(lab),))


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
    for name, data, images, size in _workloads(lab, small=50_000):
        run = to_trainer(lab, name, data, images, size)
        step = next(s for s in _ARRAYS if s in run.steps)
        made_by.add(step)
        tf_data = ask_peer(lab.here, "peers.decoding", str(data), str(size))["seconds"]
        rate, peer = images / run.steps[step], images / tf_data
        what = f"{images:,} {name} to {size} px"
        figures.append(ratio(what, rate, peer, reach=0.6, at_least=True, of="images/s"))
    return Measured(
        figures=tuple(figures), notes=(f"Made by {', '.join(sorted(made_by))}. {_small(lab)}",)
    )


def _workloads(lab: Lab, small: int) -> list[tuple[str, Path, int, int]]:
    """Returns name, folder, number of images, and the pixels they are resized to."""
    few, photographs = lab.count(small), lab.count(2_000)
    return [
        ("small images", lab.workloads.small(few), few, 32),
        ("photographs", lab.workloads.photographs(photographs), photographs, 224),
    ]


def _small(lab: Lab) -> str:
    return f"Small images: {lab.workloads.small_images}; {cpus()} CPUs."


QUESTIONS = (
    Question(
        name="ingestion",
        title="Ingestion beside a bare loop",
        text="""Driver and executor of ImageExampleGen beside a loop that reads, decodes with Pillow
and writes uncompressed TFRecords, with as many threads as CPUs; by `benchmarks/ingestion.py`, in
one process, in turns, the best of the rounds after one that does not count.""",
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
