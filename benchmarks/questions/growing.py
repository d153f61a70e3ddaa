"""How time and memory grow with the images."""

from __future__ import annotations

from functools import partial

from benchmarks.core.figures import Figure, Measured, Question, ratio
from benchmarks.core.lab import FRAMEWORKS, SMALL_CNN, Lab
from benchmarks.core.report import steps_table
from benchmarks.core.runs import TRAINER, run_visionline
from benchmarks.core.workloads import Workloads
from common.config.strict import dump

_FEW, _MANY = 10_000, 50_000
_MEMORY = (10_000, 200_000)
_MB = 10**6


def ask_time(lab: Lab) -> Measured:
    few, many = lab.count(_FEW), lab.count(_MANY)
    figures: list[Figure] = []
    columns, runs = {}, {}
    for framework in FRAMEWORKS:
        small = lab.small_cnn(framework, few, rounds=lab.rounds)
        large = lab.small_cnn(framework, many, rounds=1)
        runs[framework] = dump(large)
        for images, run in ((few, small), (many, large)):
            columns[f"{framework}, {images:,}"] = run.steps
        figures += [
            ratio(
                f"{framework}, {step}",
                1e6 * large.steps[step] / many,
                1e6 * small.steps[step] / few,
                reach=1.1,
                of="µs an image",
            )
            for step in large.steps
            if step in small.steps
        ]
    return Measured(
        figures=tuple(figures),
        tables=(steps_table(columns),),
        notes=(f"{lab.workloads.small_images}.",),
        runs=runs,
    )


def ask_memory(lab: Lab) -> Measured:
    workloads = Workloads(lab.workloads.root, archive=None)
    runs = []
    for images in map(lab.count, _MEMORY):
        measure = partial(
            run_visionline,
            workloads.small(images),
            lab.folder("memory") / "run",
            ["--framework", "keras", *SMALL_CNN],
            images=images,
            checkout=lab.here,
            until=TRAINER,
            samples_a_second=5.0,
        )
        runs.append(lab.once(f"memory-{images}", measure))
    few, many = runs
    shared = [step for step in many.memory if step in few.memory]
    return Measured(
        figures=tuple(
            ratio(step, many.memory[step] / _MB, few.memory[step] / _MB, reach=1.1, of="MB")
            for step in shared
        ),
        notes=(f"{many.images:,} images beside {few.images:,}, drawn.",),
    )


QUESTIONS = (
    Question(
        name="growth",
        title="Time per image as the images grow",
        text="""Each step's time per image at 50,000 images beside that at 10,000, by the record of
the runs of `stock-10000` and `stock-50000`.""",
        ask=ask_time,
        level="full",
        ours="many",
        peer="few",
    ),
    Question(
        name="memory",
        title="Memory of the data steps as the images grow",
        text="""Most resident memory of all processes together while a step runs, looked at five
times a second (shared pages count in each process); drawn JPEGs of 32×32, up to the Trainer. Flat
means: at most a tenth more.""",
        ask=ask_memory,
        level="full",
        ours="many",
        peer="few",
    ),
)
