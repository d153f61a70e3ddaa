"""Decides whether a candidate may be pushed, as far as serving goes."""

from __future__ import annotations

from pathlib import Path

from absl import logging
from tfx.components.util.model_utils import is_model_blessed
from tfx.dsl.components.base import base_executor

from common.files import write_atomic
from common.record.artifacts import Blessing
from common.record.record import annotate
from components import details, executor_io
from components.executor_io import Artifacts, Properties, one, split
from components.infra_validation.config import InfraValidationConfig
from components.infra_validation.report import Report
from components.infra_validation.standby import discard, take
from components.infra_validation.validate import Candidate, validate
from modelstore.artifact import SERVING_FORMAT

BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
"""As TFX's own InfraValidator names them."""
SKIPPED = "not tried, since the Evaluator did not bless the model"


class InfraValidatorExecutor(base_executor.BaseExecutor):
    """See `components.infra_validation.component.InfraValidator`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        blessing = one(output_dict, "blessing")
        # Until all is done and written, and however that ends.
        annotate(blessing, Blessing(blessed=False))
        if is_model_blessed(one(input_dict, "model_blessing")):
            report = self._try(input_dict, exec_properties)
        else:
            discard()
            report = Report(tried=False, why_not=SKIPPED)
        directory = Path(blessing.uri)
        directory.mkdir(parents=True, exist_ok=True)
        report.write(directory)
        details.record(report.record())
        if not report.tried:
            logging.warning("Infra validation skipped: %s", report.why_not)
            return
        if not report.blessed:
            logging.warning("Not blessed by infra validation: %s", report.why_not)
            write_atomic(directory / NOT_BLESSED_FILE, b"")
            return
        write_atomic(directory / BLESSED_FILE, b"")
        annotate(blessing, Blessing(blessed=True))

    def _try(self, inputs: Artifacts, properties: Properties) -> Report:
        config = executor_io.config(InfraValidationConfig, properties, where="infra_validation.")
        model = one(inputs, "model")
        candidate = Candidate(
            source=Path(model.uri) / SERVING_FORMAT,
            name=str(properties["name"]),
            uri=model.uri,
            run_id=self._context.pipeline_run_id or "",
        )
        examples = split(inputs, "examples", properties["split"])
        server = take(Path(properties["work_dir"]), config.threads)
        try:
            return validate(candidate, examples, config, server)
        finally:
            printed = server.log.read_text(encoding="utf-8", errors="replace")
            logging.info("The server printed:\n%s", printed)
            server.close()
