"""`visionline deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from common.config.flags import ConfigOption, SetOption, config_flags
from common.config.toml_file import settings
from common.errors import VisionlineError
from common.yaml_text import to_yaml
from modelstore.serving_folder import model_folder
from pipeline.cli.options import DryRunOption, PushedNameArgument
from pipeline.cli.places import serving_folder
from pipeline.deploy import memory
from pipeline.deploy.config import DeployConfig, load_config
from pipeline.deploy.kubectl import apply
from pipeline.deploy.model import choose
from pipeline.deploy.policies import policies
from pipeline.deploy.render import render
from pipeline.deploy.validate import validate
from pipeline.terminal import complain

FLAGS = {
    "storage": "storage",
    "runtime": "runtime",
    "image": "image",
    "runtime_version": "runtime_version",
    "version": "version",
    "canary": "canary_percent",
    "mode": "mode",
    "protocol": "protocol",
    "service": "service",
    "namespace": "namespace",
    "min_replicas": "min_replicas",
    "max_replicas": "max_replicas",
}
"""The keys of [deploy] by the flags that stand for them."""


@config_flags(DeployConfig, FLAGS)
def deploy(
    name: PushedNameArgument,
    *,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    overrides: dict[str, Any],
    serving: Annotated[
        Path | None,
        typer.Option(help="Look into this local serving folder for the version."),
    ] = None,
    setting: SetOption = None,
) -> None:
    """Serve a pushed model on Kubernetes, by a KServe InferenceService."""
    loaded = load_config(config, overrides | settings(setting))
    model = choose(loaded, name, _local(serving, name))
    manifest = render(loaded, model)
    objects = [*policies(loaded, manifest), manifest]
    for each in objects:
        validate(each)
    for warning in loaded.warnings + memory.warnings(loaded, model):
        complain(f"Warning: {warning}")
    if (called := manifest["metadata"]["name"]) != name:
        complain(f"The InferenceService, and the model in requests, is called {called}.")
    if loaded.version is None and model.version is not None:
        complain(f"Version {model.version}, the latest in the local serving folder.")
    if dry_run:
        typer.echo(to_yaml(objects), nl=False)
        return
    for line in apply(objects):
        typer.echo(line)


def _local(serving: Path | None, name: str) -> Path | None:
    """The model's folder on this machine; None where none is named and none is found."""
    if serving is not None:
        return model_folder(serving, name)
    try:
        return model_folder(serving_folder(None), name)
    except VisionlineError:
        return None
