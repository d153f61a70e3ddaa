"""Whether the training waits for its data."""

from __future__ import annotations

from benchmarks.core.figures import Figure, Measured, Question, ratio
from benchmarks.core.lab import FRAMEWORKS, Lab
from benchmarks.core.peers import ask_peer


def ask(lab: Lab) -> Measured:
    images = lab.count(10_000)
    data = lab.workloads.small(images)
    figures: list[Figure] = []
    for framework in FRAMEWORKS:
        found = ask_peer(lab.here, "peers.in_memory", framework, str(data), str(2 * lab.rounds))
        figures += [
            ratio(
                f"{framework}, an epoch",
                found["loop_images_per_second"],
                found["peer_images_per_second"],
                reach=0.95,
                at_least=True,
                of="images/s",
            ),
            Figure(what=f"{framework}, waits", value=found["waiting"], unit="share", reach=0.03),
        ]
        lab.say(f"  {framework}: {found}")
    return Measured(
        figures=tuple(figures),
        rounds=2 * lab.rounds,
        notes=(f"{images:,} images, {lab.workloads.small_images}.",),
    )


QUESTIONS = (
    Question(
        name="training",
        title="The training loop beside an in-memory loop",
        text="""`small_cnn` at 32×32, batch 64, no augmentation: visionline's loop on memory-mapped
arrays beside what one writes by hand in the same framework on arrays in memory (`fit` without XLA;
a loop of PyTorch, channels last), with the same network and threads. They take turns in one
process; the first epoch of each is not counted, validation neither. Waiting is the time until the
next batch is there, of the training's.""",
        ask=ask,
        peer="in memory",
    ),
)
