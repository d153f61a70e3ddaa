"""What can be measured, a module for each subject."""

from __future__ import annotations

from benchmarks.core.figures import Question
from benchmarks.questions import (
    data_steps,
    demo,
    evaluating,
    growing,
    photographs,
    savedmodel,
    starting,
    stock_tfx,
    training,
)

QUESTIONS: tuple[Question, ...] = (
    *stock_tfx.QUESTIONS,
    *photographs.QUESTIONS,
    *demo.QUESTIONS,
    *starting.QUESTIONS,
    *data_steps.QUESTIONS,
    *training.QUESTIONS,
    *evaluating.QUESTIONS,
    *savedmodel.QUESTIONS,
    *growing.QUESTIONS,
)
"""In the order of the page."""
