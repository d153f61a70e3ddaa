"""The component's interface."""

from __future__ import annotations

import json

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.channel import BaseChannel, OutputChannel

from common.config.strict import dump
from components.infra_validation.config import InfraValidationConfig
from components.infra_validation.executor import InfraValidatorExecutor


class InfraValidatorSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "name": component_spec.ExecutionParameter(type=str),
        "split": component_spec.ExecutionParameter(type=str),
        "work_dir": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class InfraValidator(base_component.BaseComponent):
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
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(InfraValidatorExecutor)

    def __init__(
        self,
        *,
        model: BaseChannel,
        model_blessing: BaseChannel,
        examples: BaseChannel,
        config: InfraValidationConfig,
        name: str,
        split: str,
        work_dir: str,
        code_digest: str,
    ) -> None:
        super().__init__(
            InfraValidatorSpec(
                model=model,
                model_blessing=model_blessing,
                examples=examples,
                config=json.dumps(dump(config), sort_keys=True),
                name=name,
                split=split,
                work_dir=work_dir,
                code_digest=code_digest,
                blessing=OutputChannel(standard_artifacts.InfraBlessing, self, "blessing"),
            )
        )
