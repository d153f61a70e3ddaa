"""What came out of a run, gathered from its artifacts, for people and for MLMD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata

from common.config.strict import dump
from common.files import read_json, write_json
from components import pusher
from components.evaluator.result import Evaluation, read_evaluation
from components.evaluator.verdict import too_fine
from components.example_gen.report import QUARANTINE_FILE, REPORT_FILE
from components.infra_validation.report import Report
from modelstore.artifact import SERVING_FORMAT, ModelCard, PushManifest
from pipeline import pictures
from pipeline.config import PipelineConfig
from pipeline.recording.recorder import Recorder

EVALUATION = "evaluation.json"
PICTURE = "evaluation.png"


def collect(recorder: Recorder, config: PipelineConfig, run_dir: Path) -> dict[str, Any]:
    """Reads the run's outputs; writes evaluation.json and evaluation.png to `run_dir`.

    Returns:
      The summary: framework, model, accuracy, blessed, version, where, …
    """
    with metadata.Metadata(recorder.connection) as handle:
        outputs = {
            node: _outputs(handle.store, execution_id)
            for node, execution_id in recorder.executions.items()
        }
    model = outputs["Trainer"]["model"]
    card = ModelCard.read(Path(model.uri) / SERVING_FORMAT)
    evaluation = read_evaluation(Path(outputs["Evaluator"]["evaluation"].uri), card)
    write_json(run_dir / EVALUATION, dump(evaluation))
    pictures.draw_evaluation(
        confusion_CC=evaluation.confusion,
        class_names=card.class_names,
        calibration=evaluation.calibration,
        title=f"{config.name}: {card.architecture} ({card.framework})",
        path=run_dir / PICTURE,
    )
    ingested = read_json(Path(outputs["ImageExampleGen"]["report"].uri) / REPORT_FILE)
    pushed = outputs["Pusher"]["pushed_model"].custom_properties
    infra = None
    if (validated := outputs.get("InfraValidator")) is not None:
        infra = Report.read(Path(validated["blessing"].uri))
    was_pushed = bool(pushed[pusher.PUSHED].int_value)
    where = pushed[pusher.DESTINATION].string_value if was_pushed else None
    recorder.annotate("Evaluator", evaluation_properties(evaluation))
    return {
        "name": config.name,
        "run_id": recorder.run_id,
        "framework": card.framework,
        "model": card.architecture,
        "parameter_count": card.parameter_count,
        "images": {name: split["images"] for name, split in ingested["splits"].items()},
        "quarantined": ingested["quarantined"]["count"],
        "quarantine": str(Path(outputs["ImageExampleGen"]["report"].uri) / QUARANTINE_FILE),
        evaluation.headline: evaluation.metrics[evaluation.headline],
        f"{evaluation.headline}_interval": evaluation.interval,
        "examples": evaluation.examples,
        "baseline": dump(evaluation.baseline),
        f"baseline_{evaluation.headline}": evaluation.baseline_value,
        "blessed": evaluation.blessed and (infra is None or infra.blessed),
        "notes": too_fine(
            config.evaluate,
            {c.name: c.examples for c in evaluation.classes},
            compared=evaluation.baseline_value is not None,
        ),
        "why_not": [*evaluation.failures, *_infra_failures(infra)],
        "infra_validation": None if infra is None else _infra(infra),
        "version": pushed[pusher.PUSHED_VERSION].int_value if was_pushed else None,
        "withdrawn_by": pushed[pusher.WITHDRAWN_BY].int_value or None,
        "where": where,
        "already_pushed": _already_pushed(where, recorder.executions["Pusher"]),
        "accelerator": card.accelerator,
        "dataset_digest": card.dataset_digest,
        "model_uri": model.uri,
        "train_seconds": card.metrics["train_seconds"],
        "curves": str(Path(outputs["Trainer"]["model_run"].uri) / "training_curves.png"),
        "evaluation": str(run_dir / EVALUATION),
    }


def _already_pushed(where: str | None, pusher_execution: int) -> str | None:
    """When a version was pushed that this run found in serving; None of one that it made."""
    if where is None:
        return None
    manifest = PushManifest.read(Path(where))
    made_now = manifest.mlmd.get("pusher_execution") == pusher_execution
    return None if made_now and manifest.rolled_back_to is None else manifest.pushed_at


def evaluation_properties(evaluation: Evaluation) -> dict[str, str | int | float]:
    """What the Evaluator's execution says of the verdict."""
    values: dict[str, str | int | float] = {
        **evaluation.metrics,
        "expected_calibration_error": evaluation.expected_calibration_error,
        "examples": evaluation.examples,
        "blessed": int(evaluation.blessed),
        "per_class": json.dumps(dump(evaluation.classes)),
    }
    if evaluation.baseline_value is not None:
        values[f"baseline_{evaluation.headline}"] = evaluation.baseline_value
    if evaluation.failures:
        # One a line, whatever ends lines in the name of a slice.
        values["why_not_blessed"] = "\n".join(" ".join(f.splitlines()) for f in evaluation.failures)
        values["failed_thresholds"] = json.dumps(dump(evaluation.failed))
    return values


def _infra(infra: Report) -> dict[str, Any]:
    """Its report; of a model that was not tried there is no verdict."""
    return {**dump(infra), "blessed": infra.blessed if infra.tried else None}


def _infra_failures(infra: Report | None) -> list[str]:
    """Nothing of a model that the server was not asked about: the Evaluator said why."""
    if infra is None or infra.blessed or not infra.tried:
        return []
    return [f"infra validation: {infra.why_not}"]


def _outputs(store: Any, execution_id: int) -> dict[str, Any]:
    """An execution's output artifacts by key."""
    events = [
        e
        for e in store.get_events_by_execution_ids([execution_id])
        if e.type in (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT)
    ]
    artifacts = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
    return {e.path.steps[0].key: artifacts[e.artifact_id] for e in events}
