"""What judging a model costs."""

from __future__ import annotations

import shutil

from benchmarks.core.figures import Figure, Measured, Question, ratio, seconds
from benchmarks.core.lab import FRAMEWORKS, SMALL_CNN, Lab
from benchmarks.core.peers import ask_peer
from benchmarks.core.processes import FailedError
from benchmarks.core.report import steps_table
from benchmarks.core.runs import TRAINER, Run, run_visionline

_ALIKE = 0.01
"""Decoders differ by a grey level here and there, which turns an image in some hundreds."""
_AFTER = ("InfraValidator", "Pusher")


def judging(run: Run) -> dict[str, float]:
    """Returns the steps from the trained model to the verdict, whatever they are called."""
    names = list(run.steps)
    return {n: run.steps[n] for n in names[names.index(TRAINER) + 1 :] if n not in _AFTER}


def ask(lab: Lab) -> Measured:
    trained, held_out, few = lab.count(1_000), lab.count(10_000), lab.count(1_000)
    figures: list[Figure] = []
    columns = {}
    for framework in FRAMEWORKS:
        steps, found = _beside(lab, framework, trained, held_out)
        columns[framework] = steps
        what = f"{framework}, {held_out:,} images"
        figures.append(ratio(what, sum(steps.values()), found["seconds"], reach=2.0))
    for framework in FRAMEWORKS:
        small = sum(judging(lab.small_cnn(framework, few, rounds=1)).values())
        figures.append(seconds(f"{framework}, {few // 5:,} images", small, reach=3.0))
    return Measured(
        figures=tuple(figures),
        tables=(steps_table(columns),),
        notes=(f"{lab.workloads.small_images}.",),
    )


def _beside(
    lab: Lab, framework: str, trained: int, held_out: int
) -> tuple[dict[str, float], dict[str, float]]:
    data, folder = lab.workloads.small_split(trained, held_out), lab.folder("evaluating")
    output = folder / framework
    shutil.rmtree(output, ignore_errors=True)
    run = run_visionline(
        data,
        output,
        ["--framework", framework, *SMALL_CNN],
        images=trained + held_out,
        checkout=lab.here,
        keep=True,
    )
    (version,) = output.glob("serving/*/1")
    found = ask_peer(lab.here, "peers.prediction", framework, str(version), str(data / "val"))
    lab.say(f"  {framework}: {judging(run)}; plain loop {found['seconds']:.1f} s")
    if run.accuracy is None or abs(run.accuracy - found["accuracy"]) > _ALIKE:
        raise FailedError(
            f"Expected the same accuracy from both, got {run.accuracy} and {found['accuracy']}."
        )
    shutil.rmtree(output)
    return judging(run), found


QUESTIONS = (
    Question(
        name="evaluating",
        title="Evaluation beside a plain loop",
        text="""All steps from the trained model to the verdict, by their record, predictions
included, beside a loop in the model's own framework that reads and decodes the same files,
predicts in batches of 256 and computes accuracy, loss, confusion matrix and accuracy by class with
NumPy; its imports and the loading of the model are not counted. Their accuracies must be the same
to a hundredth.
The few images are a fifth of the 1,000 of a run of `small_cnn`.""",
        ask=ask,
        peer="plain loop",
    ),
)
