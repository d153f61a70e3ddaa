"""Scores a split, and says by which model."""

from __future__ import annotations

from pathlib import Path

from absl import logging
from tfx.dsl.components.base import base_executor

from common.config.strict import dump
from common.errors import DataError
from common.files import write_json
from common.process.progress import emit
from common.record.artifacts import Examples, Predictions
from common.record.record import annotate, annotated, value_of
from common.record.steps import Inference
from components import details, executor_io
from components.bulk_inferrer.baseline import RESOLVED
from components.bulk_inferrer.infer import infer
from components.executor_io import Artifacts, Properties, folder, one, split
from modelstore.artifact import SERVING_FORMAT
from modelstore.baseline import BASELINE_FILE, Baseline


class BulkInferrerExecutor(base_executor.BaseExecutor):
    """See `components.bulk_inferrer.component.BulkInferrer`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        model = folder(input_dict, "model") / SERVING_FORMAT
        _predict(model, input_dict, output_dict, exec_properties)


class BaselineInferrerExecutor(base_executor.BaseExecutor):
    """See `components.bulk_inferrer.component.BaselineInferrer`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        baseline = executor_io.config(Baseline, exec_properties, RESOLVED)
        output = folder(output_dict, "inference_result")
        output.mkdir(parents=True, exist_ok=True)
        if baseline.where is not None:
            found = _predict(Path(baseline.where), input_dict, output_dict, exec_properties)
            if found != baseline.digest:
                raise DataError(
                    f"{baseline.where} was changed while it was read: expected the model "
                    f"{baseline.digest}, got {found}. Run the pipeline again."
                )
        write_json(output / BASELINE_FILE, dump(baseline))
        details.record(Inference(baseline_state=baseline.state, baseline_version=baseline.version))


def _predict(model: Path, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> str:
    """Scores the split by the model in a folder; returns the model's digest."""
    emit({"kind": "stage", "stage": "predictions"})
    columns = value_of(annotated(one(inputs, "examples")), Examples.extra_columns) or []
    name = properties["split"]
    examples = split(inputs, "examples", name)
    origin = infer(model, examples, name, columns, folder(outputs, "inference_result"))
    logging.info("Predicted %d images by %s.", origin.images, origin.engine)
    annotate(one(outputs, "inference_result"), Predictions(model_digest=origin.model_digest))
    details.record(Inference(engine=origin.engine, images=origin.images, parity=origin.parity))
    return origin.model_digest
