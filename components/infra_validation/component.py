"""The component's interface."""

from __future__ import annotations

import json
from typing import Any

from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model, ModelBlessing

from common.config.strict import dump
from components.component import Component, PythonExecutor, channels, texts
from components.infra_validation.config import InfraValidationConfig


class InfraValidatorSpec(ComponentSpec):
    PARAMETERS = texts("config", "name", "split", "work_dir", "code_digest")
    INPUTS = channels(model=Model, model_blessing=ModelBlessing, examples=Examples)
    OUTPUTS = channels(blessing=InfraBlessing)


class InfraValidator(Component):
    """Tries a blessed model in visionline's own server, as a push would leave it there.

    Not TFX's own, which starts TF Serving in Docker or Kubernetes, and looks at no answer.

    Args:
      model: the candidate.
      model_blessing: the Evaluator's verdict; without it the server is not asked.
      examples: raw examples to ask it about.
      config: how.
      name: of the model, in serving.
      split: of `examples`.
      work_dir: where a serving folder is made for the time.
      code_digest: of the server's code, so that the cache sees when it changes.
    """

    SPEC_CLASS = InfraValidatorSpec
    EXECUTOR_SPEC = PythonExecutor("components.infra_validation.executor.InfraValidatorExecutor")

    def __init__(self, *, config: InfraValidationConfig, **values: Any) -> None:
        super().__init__(config=json.dumps(dump(config), sort_keys=True), **values)
