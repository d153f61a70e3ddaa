"""What Kubeflow's UI shows of a task: figures, and pictures in a page of HTML."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.record.kinds import EVALUATOR, TRAINER
from common.record.record import name_of
from common.record.steps import Training
from modelstore.artifact import SERVING_FORMAT, ModelCard
from pipeline.kubeflow.step import METRICS, REPORT
from pipeline.kubeflow.task.io import TaskIO, put

CURVES = "training_curves.png"


def show_training(io: TaskIO, recorder: Any) -> None:
    card = ModelCard.read(io.outputs["model"].path / SERVING_FORMAT)
    figures = {**card.metrics, name_of(Training.parameter_count): card.parameter_count}
    title = f"{card.architecture} ({card.framework})"
    _show(io, title, figures, io.outputs["model_run"].path / CURVES)


def show_evaluation(io: TaskIO, recorder: Any) -> None:
    """Shows the verdict, and records its figures on the execution, as `visionline run` does."""
    from components.evaluator.result import read_evaluation
    from pipeline import pictures
    from pipeline.run.results import verdict_of

    card = ModelCard.read(io.inputs["model"].path / SERVING_FORMAT)
    evaluation = read_evaluation(io.outputs["evaluation"].path)
    record = verdict_of(evaluation)
    recorder.annotate(EVALUATOR, record)
    title = f"{card.architecture} ({card.framework})"
    picture = io.outputs[REPORT].path.with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    pictures.draw_evaluation(
        confusion_CC=evaluation.confusion,
        class_names=card.class_names,
        calibration=evaluation.calibration,
        title=title,
        path=picture,
    )
    verdict = "Blessed." if evaluation.blessed else "Not blessed: " + " ".join(evaluation.failures)
    examples = {c.name: c.examples for c in evaluation.classes}
    figures = {**record.properties(), "examples_by_class": examples}
    _show(io, title, figures, picture, verdict)
    picture.unlink()


SHOW: Mapping[str, Callable[[TaskIO, Any], None]] = {
    TRAINER: show_training,
    EVALUATOR: show_evaluation,
}


def _show(
    io: TaskIO,
    title: str,
    figures: Mapping[str, Any],
    picture: Path,
    text: str = "",
) -> None:
    """Writes the page, and the figures: as metadata, which is small, and with more as a file.

    Args:
      figures: numbers, and what is for the file alone: texts and tables.
    """
    numbers = {k: v for k, v in figures.items() if isinstance(v, int | float) and math.isfinite(v)}
    io.metadata[METRICS] = numbers
    rows = "".join(f"<tr><td>{html.escape(k)}<td>{v:.6g}" for k, v in sorted(numbers.items()))
    image = base64.b64encode(picture.read_bytes()).decode()
    page = (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:15px sans-serif;margin:2em}td{padding:.1em 1em .1em 0}"
        "img{max-width:100%}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p><table>{rows}</table>"
        f'<img alt="" src="data:image/png;base64,{image}">'
    )
    others = {k: v for k, v in figures.items() if isinstance(v, str | dict)}
    for key, content in ((REPORT, page), (METRICS, json.dumps(numbers | others))):
        put(io.outputs[key].path, content.encode())
