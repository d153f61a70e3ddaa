"""`visionline kubeflow compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from common.config.flags import SetOption, config_flags
from common.config.toml_file import settings
from common.process.quiet import quiet_stderr
from pipeline.cli.options import ConfigArgument
from pipeline.config import PipelineConfig, load_config
from pipeline.kubeflow.compiler.compile import write_package

FLAGS = {"image": "kubeflow.image", "pipeline_root": "kubeflow.pipeline_root"}


@config_flags(PipelineConfig, FLAGS)
def compile_(
    config: ConfigArgument = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the package to this file.")
    ] = Path("pipeline.yaml"),
    overrides: dict[str, Any],
    setting: SetOption = None,
) -> None:
    """Compile the pipeline to one file, a package, for Kubeflow Pipelines 2."""
    loaded = load_config(config, overrides | settings(setting))
    with quiet_stderr():
        write_package(loaded, output)
    typer.echo(f"Compiled {loaded.pipeline_name} to {output}.")
    typer.echo(f"  Try it here:  visionline kubeflow run {output}")
    typer.echo(f"  Send it:      visionline kubeflow submit {output} --endpoint URL")
