"""What came out of a run, gathered from its artifacts, for people and for MLMD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata

from common.config.strict import dump
from common.files import read_json, write_json
from common.record.artifacts import Pushed
from common.record.kinds import EVALUATOR, IMAGE_EXAMPLE_GEN, INFRA_VALIDATOR, PUSHER, TRAINER
from common.record.record import annotated, lines
from common.record.steps import Verdict
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
    model = outputs[TRAINER]["model"]
    card = ModelCard.read(Path(model.uri) / SERVING_FORMAT)
    evaluation = read_evaluation(Path(outputs[EVALUATOR]["evaluation"].uri))
    write_json(run_dir / EVALUATION, dump(evaluation))
    pictures.draw_evaluation(
        confusion_CC=evaluation.confusion,
        class_names=card.class_names,
        calibration=evaluation.calibration,
        title=f"{config.name}: {card.architecture} ({card.framework})",
        path=run_dir / PICTURE,
    )
    ingested = read_json(Path(outputs[IMAGE_EXAMPLE_GEN]["report"].uri) / REPORT_FILE)
    pushed = Pushed.read(annotated(outputs[PUSHER]["pushed_model"]))
    infra = None
    if (validated := outputs.get(INFRA_VALIDATOR)) is not None:
        infra = Report.read(Path(validated["blessing"].uri))
    where = pushed.pushed_destination if pushed.pushed else None
    recorder.annotate(EVALUATOR, verdict_of(evaluation))
    return {
        "name": config.name,
        "run_id": recorder.run_id,
        "framework": card.framework,
        "model": card.architecture,
        "parameter_count": card.parameter_count,
        "images": {name: split["images"] for name, split in ingested["splits"].items()},
        "quarantined": ingested["quarantined"]["count"],
        "quarantine": str(Path(outputs[IMAGE_EXAMPLE_GEN]["report"].uri) / QUARANTINE_FILE),
        "notices": ingested.get("notices", []),  # none in reports made before there were any
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
        "why_not": [*evaluation.failures, *(infra.failures() if infra else ())],
        # Of a model that was not tried there is no verdict.
        "infra_validation": infra
        and {**dump(infra), "blessed": infra.blessed if infra.tried else None},
        "version": pushed.pushed_version if pushed.pushed else None,
        "withdrawn_by": pushed.withdrawn_by,
        "where": where,
        "already_pushed": _already_pushed(where, recorder.executions[PUSHER]),
        "accelerator": card.accelerator,
        "dataset_digest": card.dataset_digest,
        "model_uri": model.uri,
        "train_seconds": card.metrics["train_seconds"],
        "curves": str(Path(outputs[TRAINER]["model_run"].uri) / "training_curves.png"),
        "evaluation": str(run_dir / EVALUATION),
    }


def _already_pushed(where: str | None, pusher_execution: int) -> str | None:
    """Returns when a version was pushed that was in serving already; None if this run made it."""
    if where is None:
        return None
    manifest = PushManifest.read(Path(where))
    made_now = manifest.mlmd.get("pusher_execution") == pusher_execution
    return None if made_now and manifest.rolled_back_to is None else manifest.pushed_at


def verdict_of(evaluation: Evaluation) -> Verdict:
    """Returns what the Evaluator's execution says of the verdict."""
    baseline = {f"baseline_{evaluation.headline}": evaluation.baseline_value}
    figures: dict[str, Any] = evaluation.metrics | baseline
    return Verdict(
        **figures,
        expected_calibration_error=evaluation.expected_calibration_error,
        examples=evaluation.examples,
        blessed=evaluation.blessed,
        per_class=dump(evaluation.classes),
        why_not_blessed=lines(evaluation.failures),
        failed_thresholds=dump(evaluation.failed) if evaluation.failures else None,
    )


def _outputs(store: Any, execution_id: int) -> dict[str, Any]:
    """Returns an execution's output artifacts by key."""
    events = [
        e
        for e in store.get_events_by_execution_ids([execution_id])
        if e.type in (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT)
    ]
    artifacts = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
    return {e.path.steps[0].key: artifacts[e.artifact_id] for e in events}
