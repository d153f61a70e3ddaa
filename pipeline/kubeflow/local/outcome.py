"""What came of a compiled pipeline that was run here, read from what its tasks gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.config.strict import dump, parse
from common.files import read_json
from common.record.artifacts import Pushed
from common.record.steps import Verdict
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
    """Returns the summary that `pipeline.run.closing` prints; None where no model was judged.

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
    verdict = Verdict.read(figures)
    why_not = list(verdict.why_not_blessed)
    infra = None
    if (validator := outputs.get("infra-validator")) is not None:
        infra = Report.read(path_of(validator.artifacts[BLESSING]["uri"]))
        why_not += infra.failures()
    config = json.loads(text_of(spec, "pusher", CONFIG))
    pushed = Pushed.read(pusher.artifacts[PUSHED_MODEL]["metadata"])
    return {
        "name": pushed.model_name,
        "accuracy": verdict.accuracy,
        "accuracy_interval": None,
        "examples": verdict.examples,
        "baseline": read_json(path_of(evaluation["uri"]) / BASELINE_FILE),
        "baseline_accuracy": verdict.baseline_accuracy,
        "evaluation": str(path_of(evaluation["uri"])),
        "blessed": bool(verdict.blessed) and (infra is None or infra.blessed),
        "notes": too_fine(
            parse(EvaluateConfig, config["evaluate"]),
            figures["examples_by_class"],
            compared=verdict.baseline_accuracy is not None,
        ),
        "why_not": why_not,
        "infra_validation": None if infra is None else dump(infra),
        "version": pushed.pushed_version,
        "withdrawn_by": pushed.withdrawn_by,
        "where": pushed.pushed_destination,
    }
