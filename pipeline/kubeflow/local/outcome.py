"""What came of a compiled pipeline that was run here, read from what its tasks gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.config.strict import dump, parse
from common.files import read_json
from components.evaluator.verdict import EvaluateConfig, too_fine
from components.infra_validation.report import Report
from modelstore.baseline import BASELINE_FILE
from pipeline.kubeflow.local.launcher import Outputs
from pipeline.kubeflow.parts import text_of
from pipeline.kubeflow.spec import Spec
from pipeline.kubeflow.step import CONFIG, METRICS

EVALUATION, BLESSING, PUSHED_MODEL = "evaluation", "blessing", "pushed_model"


def summary_of(
    spec: Spec, outputs: Mapping[str, Outputs], path_of: Callable[[str], Path]
) -> dict[str, Any] | None:
    """The summary that `pipeline.run.closing` prints; None where no model was judged.

    Args:
      spec: that was run.
      outputs: by task.
      path_of: where a URI's files are.
    """
    judge, pusher = outputs.get("evaluator"), outputs.get("pusher")
    if judge is None or pusher is None or METRICS not in judge.artifacts:
        return None  # somebody else's pipeline
    figures = read_json(path_of(judge.artifacts[METRICS]["uri"]))
    evaluation = judge.artifacts[EVALUATION]
    why_not = list(figures["why_not_blessed"])
    infra = None
    if (validator := outputs.get("infra-validator")) is not None:
        infra = Report.read(path_of(validator.artifacts[BLESSING]["uri"]))
        why_not += infra.failures()
    pushed = pusher.artifacts[PUSHED_MODEL]["metadata"]
    return {
        "name": pushed.get("model_name"),
        "accuracy": figures.get("accuracy"),
        "accuracy_interval": None,
        "examples": figures.get("examples"),
        "baseline": read_json(path_of(evaluation["uri"]) / BASELINE_FILE),
        "baseline_accuracy": figures.get("baseline_accuracy"),
        "evaluation": str(path_of(evaluation["uri"])),
        "blessed": figures.get("blessed") == 1 and (infra is None or infra.blessed),
        "notes": _notes(spec, figures),
        "why_not": why_not,
        "infra_validation": None if infra is None else dump(infra),
        "version": pushed.get("pushed_version"),
        "withdrawn_by": pushed.get("withdrawn_by"),
        "where": pushed.get("pushed_destination"),
    }


def _notes(spec: Spec, figures: Mapping[str, Any]) -> list[str]:
    config = json.loads(text_of(spec, "pusher", CONFIG))["evaluate"]
    return too_fine(
        parse(EvaluateConfig, config),
        figures["examples_by_class"],
        compared="baseline_accuracy" in figures,
    )
