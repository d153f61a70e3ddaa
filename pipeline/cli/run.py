"""`visionline run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from common.config.flags import SetOption, config_flags
from common.config.toml_file import settings
from common.errors import ConfigError
from pipeline.cli.again import run_again
from pipeline.cli.options import ConfigArgument
from pipeline.config import PipelineConfig, load_config
from pipeline.run.closing import print_outcome
from pipeline.run.display import make_display
from pipeline.run.session import run_pipelines
from pipeline.terminal import console

FLAGS = {
    "data": "data.path",
    "framework": "train.framework",
    "model": "train.model",
    "min_accuracy": "evaluate.min_accuracy",
    "epochs": "train.epochs",
    "image_size": "transform.image_size",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "seed": "train.seed",
    "name": "name",
    "output": "run.output",
    "serving": "push.destination",
    "metadata": "run.metadata",
    "schema": "schema.frozen",
    "accept": "schema.accept",
    "beam_arg": "run.beam_args",
}
"""The keys of the config by the flags that every way to run the pipeline has."""
RUNNER = {"runner": "run.runner"}
BASELINE = "evaluate.baseline"
"""What `--no-baseline` sets to none."""
NoBaselineOption = Annotated[
    bool, typer.Option("--no-baseline", help="Push without comparing with what is served.")
]


@config_flags(PipelineConfig, FLAGS | RUNNER)
def run(
    config: ConfigArgument = None,
    *,
    overrides: dict[str, Any],
    no_baseline: NoBaselineOption = False,
    setting: SetOption = None,
    again: Annotated[
        str | None,
        typer.Option(help="Run a recorded run once more: name a run, served path or model."),
    ] = None,
) -> None:
    """Run the pipeline: from images to a pushed model."""
    overrides = all_overrides(overrides, no_baseline, setting)
    if overrides.get("run.runner") == "kubeflow-local":
        raise ConfigError("--runner kubeflow-local is now `visionline kubeflow run PACKAGE`.")
    if again is not None:
        raise typer.Exit(run_again(again, config, overrides))
    terminal = console()
    finished = run_pipelines([load_config(config, overrides)], make_display(terminal))[-1]
    raise typer.Exit(print_outcome(finished, terminal))


def all_overrides(
    overrides: dict[str, Any], no_baseline: bool, setting: Sequence[str] | None
) -> dict[str, Any]:
    """Returns the values by key that flags gave, and over them those of --set.

    Raises:
      ConfigError: one is none that the key can have.
    """
    if (size := overrides.get("transform.image_size")) is not None:
        overrides["transform.image_size"] = _image_size(size)
    if no_baseline:
        overrides[BASELINE] = "none"
    return overrides | settings(setting)


def _image_size(text: str) -> int | list[int]:
    try:
        sides = [int(part) for part in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise ConfigError(f"--image-size: expected 224 or 224x320 (height x width), got {text!r}.")
    return sides[0] if len(sides) == 1 else sides
