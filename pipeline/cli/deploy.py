"""`visionline deploy`: a pushed model as a KServe InferenceService."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.config.toml_file import settings
from pipeline.cli.places import model_folder, serving_folder
from pipeline.terminal import complain


def deploy(
    name: Annotated[str, typer.Argument(help="The model's name in serving.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the manifest and submit nothing.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with a table [deploy]; flags override it.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="The serving folder there: s3://…, gs://…, pvc://CLAIM/….")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="visionline or tensorflow.")] = None,
    image: Annotated[str | None, typer.Option(help="Of visionline's server.")] = None,
    runtime_version: Annotated[str | None, typer.Option(help="Tag of tensorflow/serving.")] = None,
    version: Annotated[int | None, typer.Option(help="The one version to serve.")] = None,
    canary: Annotated[
        int | None, typer.Option(metavar="PERCENT", help="Share of the traffic it gets.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="standard or knative.")] = None,
    protocol: Annotated[str | None, typer.Option(help="http or grpc.")] = None,
    service: Annotated[
        str | None, typer.Option(help="The InferenceService; by default from the model's name.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="By default kubectl's.")] = None,
    min_replicas: Annotated[int | None, typer.Option(help="Pods at least.")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="Pods at most.")] = None,
    serving: Annotated[
        Path | None, typer.Option(help="The local serving folder, to tell of the version.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of [deploy], such as server.limits.images=16."),
    ] = None,
) -> None:
    """Serve a pushed model on Kubernetes, by a KServe InferenceService."""
    from pipeline.deploy import memory
    from pipeline.deploy.config import load_config
    from pipeline.deploy.model import choose
    from pipeline.deploy.policies import policies
    from pipeline.deploy.render import render
    from pipeline.deploy.validate import validate

    flags = {
        "storage": storage,
        "runtime": runtime,
        "image": image,
        "runtime_version": runtime_version,
        "version": version,
        "canary_percent": canary,
        "mode": mode,
        "protocol": protocol,
        "service": service,
        "namespace": namespace,
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
    }
    overrides = {k: v for k, v in flags.items() if v is not None} | settings(setting)
    loaded = load_config(config, overrides)
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
    from common.yaml_text import to_yaml
    from pipeline.deploy.kubectl import apply

    if dry_run:
        typer.echo(to_yaml(objects), nl=False)
        return
    for said in apply(objects):
        typer.echo(said)


def _local(serving: Path | None, name: str) -> Path | None:
    """The model's folder on this machine; None where none is named and none is found."""
    from common.errors import VisionlineError

    if serving is not None:
        return model_folder(serving, name)
    try:
        return model_folder(serving_folder(None), name)
    except VisionlineError:
        return None
