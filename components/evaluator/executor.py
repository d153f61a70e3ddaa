"""Judges a model by its predictions; no verdict is good without its comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_beam_executor

from common.config.strict import dump, parse
from common.errors import DataError
from common.files import read_json, write_atomic, write_json
from common.record.artifacts import Blessing
from common.record.record import annotate, name_of
from common.record.steps import Parameters, Verdict
from components import details, executor_io
from components.bulk_inferrer.infer import count_examples
from components.evaluator.analysis import Compared, analyse
from components.evaluator.eval_config import eval_config
from components.evaluator.figures import evaluation_of
from components.evaluator.result import write_evaluation
from components.evaluator.verdict import WHY_NOT_FILE, EvaluateConfig
from components.executor_io import Artifacts, Properties, folder, one, split
from modelstore.artifact import SERVING_FORMAT, model_digest
from modelstore.baseline import BASELINE_FILE, Baseline
from modelstore.predictions import Origin, PredictionsReader
from modelstore.tasks import TASKS


class EvaluatorExecutor(base_beam_executor.BaseBeamExecutor):  # type: ignore[misc]
    """See `components.evaluator.component.Evaluator`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        config = executor_io.config(EvaluateConfig, exec_properties, "evaluate", "evaluate.")
        task = TASKS[exec_properties["task"]]
        (split_name,) = json.loads(exec_properties[name_of(Parameters.example_splits)])
        compared, baseline = _compared(input_dict, split_name)
        origin = PredictionsReader(compared.candidate).origin
        output = folder(output_dict, "evaluation")
        settings = eval_config(config, task, has_baseline=compared.baseline is not None)
        with self._make_beam_pipeline() as pipeline:
            analyse(pipeline, compared, settings, output)
        evaluation = evaluation_of(output, task, origin.class_names, baseline)
        write_evaluation(output, evaluation)
        write_json(output / BASELINE_FILE, dump(baseline))
        write_json(output / WHY_NOT_FILE, evaluation.failures)
        _bless(one(output_dict, "blessing"), evaluation.blessed, input_dict, baseline)
        for why in evaluation.failures:
            logging.warning("Not blessed: %s", why)
        details.record(Verdict(baseline_state=baseline.state, baseline_version=baseline.version))


def _compared(inputs: Artifacts, split_name: str) -> tuple[Compared, Baseline]:
    """Returns the predictions that are judged, and what the candidate's are compared with.

    Raises:
      DataError: they are not those of these models, on this split, whole.
    """
    candidate = folder(inputs, "predictions")
    model = folder(inputs, "model") / SERVING_FORMAT
    origin = PredictionsReader(candidate).origin
    _check_model(candidate, origin, model_digest(model), str(model))
    examples = count_examples(split(inputs, "examples", split_name))
    if origin.split != split_name or origin.images != examples:
        raise DataError(
            f"{candidate} has predictions of {origin.images} images of the split "
            f"{origin.split!r}; expected {examples} of {split_name!r}. Run the pipeline again."
        )
    beside = folder(inputs, "baseline_predictions")
    baseline = parse(Baseline, read_json(beside / BASELINE_FILE))
    if baseline.digest is None:
        return Compared(candidate=candidate, baseline=None), baseline
    other = PredictionsReader(beside).origin
    _check_model(beside, other, baseline.digest, str(baseline.version))
    if (other.split, other.images_digest) != (origin.split, origin.images_digest):
        raise DataError(
            f"{beside} has predictions of other images than {candidate}: expected those of the "
            f"split {split_name!r}, in the same order. Run the pipeline again."
        )
    return Compared(candidate=candidate, baseline=beside), baseline


def _check_model(predictions: Path, origin: Origin, digest: str, name: str) -> None:
    if origin.model_digest != digest:
        raise DataError(
            f"{predictions} has predictions of another model than {name}: expected those of the "
            f"model {digest}, got those of {origin.model_digest}. Run the pipeline again."
        )


def _bless(blessing: Any, blessed: bool, inputs: Artifacts, baseline: Baseline) -> None:
    """Makes the artifact what TFX's own Evaluator makes it."""
    model, recorded = one(inputs, "model"), inputs.get("baseline_model") or []
    directory = Path(blessing.uri)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / ("BLESSED" if blessed else "NOT_BLESSED"), b"")
    annotate(
        blessing,
        {"current_model": model.uri},
        Blessing(blessed=blessed, current_model_id=model.id),
    )
    if baseline.where is not None:
        id_ = recorded[-1].id if recorded else None
        annotate(blessing, Blessing(baseline_model=baseline.where, baseline_model_id=id_))
