"""The demo, with everything installed."""

from __future__ import annotations

import shutil

from benchmarks.core.figures import Measured, Question, ratio, seconds
from benchmarks.core.lab import Lab
from benchmarks.core.processes import Checkout, watch

_WHAT = "`visionline demo`"


def ask(lab: Lab) -> Measured:
    def run(checkout: Checkout, name: str) -> float:
        output = lab.folder("demo") / name
        shutil.rmtree(output, ignore_errors=True)
        words = checkout.visionline("demo", "--output", str(output))
        took = watch(words, output.with_suffix(".log"), checkout=checkout).seconds
        lab.say(f"  demo, {name}: {took:.1f} s")
        shutil.rmtree(output)
        return took

    if lab.old is None:
        return Measured(figures=(seconds(_WHAT, run(lab.here, "new")),))
    old, new = run(lab.old, "old"), run(lab.here, "new")
    return Measured(figures=(ratio(_WHAT, new, old, reach=0.45),))


QUESTIONS = (
    Question(
        name="demo",
        title="The demo",
        text="""Digits, Keras and PyTorch, 20 epochs each, as a whole process; everything is
installed, nothing else is warm.""",
        ask=ask,
        level="full",
        peer="old checkout",
        needs_old=True,
    ),
)
