"""Draws docs/images/schedules.svg, the learning rate of each schedule: `python docs/schedules.py`.

By the code that trainings use.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from matplotlib.figure import Figure  # noqa: E402

from trainers.config import ScheduleConfig, TrainConfig  # noqa: E402
from trainers.schedules import learning_rate  # noqa: E402

EPOCHS, STEPS = 30, 20
SCHEDULES = {
    "constant": ScheduleConfig(name="constant"),
    "step: every_epochs=10": ScheduleConfig(name="step", every_epochs=10, factor=0.3),
    "cosine": ScheduleConfig(),
    "cosine: cycles=3": ScheduleConfig(cycles=3, cycle_decay=0.7),
    "one_cycle": ScheduleConfig(name="one_cycle"),
    "wsd": ScheduleConfig(name="wsd"),
}


def draw() -> Figure:
    """Draws each in a field of its own."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    fields = figure.subplots(2, 3, sharex=True, sharey=True).flat
    for field, (title, schedule) in zip(fields, SCHEDULES.items(), strict=True):
        config = TrainConfig(
            framework="keras",
            model="small_cnn",
            epochs=EPOCHS,
            learning_rate=1.0,
            warmup_epochs=2,
            schedule=schedule,
        )
        steps = range(EPOCHS * STEPS)
        rates = [learning_rate(s, config=config, steps_per_epoch=STEPS) for s in steps]
        field.plot([s / STEPS for s in steps], rates, linewidth=1.8)
        field.set_title(title, fontsize=10)
        field.grid(alpha=0.3)
        field.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("share of train.learning_rate", fontsize=10)
    return figure


if __name__ == "__main__":
    mpl.rcParams |= {"svg.hashsalt": "schedules", "svg.fonttype": "none"}  # small, and the same
    draw().savefig(DOCS / "images" / "schedules.svg", metadata={"Date": None})
