"""`visionline compile`, and `visionline run --runner kubeflow-local`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from common.config.toml_file import settings
from common.errors import ConfigError, Exit
from common.paths import check_folder
from pipeline.cli.settings import SetOption
from pipeline.terminal import console

KUBEFLOW_LOCAL = "kubeflow-local"
ENGINES = ("subprocess", "podman", "docker")


def compile_(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; --set overrides it.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML to write.")] = Path(
        "pipeline.yaml"
    ),
    image: Annotated[str | None, typer.Option(help="That every task runs in.")] = None,
    pipeline_root: Annotated[
        str | None, typer.Option(help="For artifacts: minio://, s3:// or gs://.")
    ] = None,
    setting: SetOption = None,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines 2."""
    from common.process.quiet import quiet_stderr
    from pipeline.config import load_config
    from pipeline.kubeflow.compiler.compile import write_package

    flags = {"kubeflow.image": image, "kubeflow.pipeline_root": pipeline_root}
    overrides = {k: v for k, v in flags.items() if v is not None} | settings(setting)
    loaded = load_config(config, overrides)
    with quiet_stderr():
        write_package(loaded, output)
    typer.echo(f"Compiled {loaded.pipeline_name} to {output}.")
    typer.echo(f"  Try it here:  visionline run --runner kubeflow-local {output}")
    typer.echo(f"  Send it:      visionline submit {output} --endpoint URL")


def run_compiled(
    path: Path | None,
    overrides: Mapping[str, Any],
    engine: str | None,
    volumes: Sequence[str],
    caching: bool,
) -> int:
    """Runs a compiled pipeline on this machine; returns the exit code.

    Args:
      overrides: values by the config's keys.

    Raises:
      ConfigError: it cannot be run so.
    """
    from common.process import folder_lock
    from common.process.quiet import quiet_stderr
    from lineage.store.workspace import new_run_id
    from pipeline.kubeflow.local.engines import Name, make_engine
    from pipeline.kubeflow.local.outcome import summary_of
    from pipeline.kubeflow.local.runner import DEFAULT_ROOT, Ended, LocalRun
    from pipeline.kubeflow.settings import prepare
    from pipeline.kubeflow.spec import arguments
    from pipeline.kubeflow.step import LINEAGE
    from pipeline.run.closing import print_verdict

    if path is None:
        raise ConfigError("Which pipeline? Name the YAML that `visionline compile` wrote.")
    engine = engine or ENGINES[0]
    if engine not in ENGINES:
        raise ConfigError(f"--engine: expected {', '.join(ENGINES)}, got {engine!r}.")
    rest = dict(overrides)
    rest.pop("run.runner", None)
    output = rest.pop("run.output", None)
    with tempfile.TemporaryDirectory() as scratch, quiet_stderr():
        _, parameters, package = prepare(path, rest, Path(scratch))
    values = arguments(package.spec, parameters)
    folder = Path(output or Path("visionline-runs") / f"{package.name}-kubeflow").absolute()
    check_folder("run.output", output or folder)
    check_folder("the folder for temporary files (TMPDIR)", tempfile.gettempdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise folder_lock.unwritable(folder, e) from None
    made = make_engine(cast(Name, engine), folder, package.volumes, volumes)
    run_id = new_run_id()

    def told(task: str, ended: Ended | None) -> None:
        if ended is None:
            typer.echo(f"{task:<24} running")
            return
        seconds = f"{ended.seconds:8.1f} s" if ended.seconds else ""
        typer.echo(f"{task:<24} {_WORDS[ended.state]:<10}{seconds}")
        if ended.reason:
            typer.echo(f"  {ended.reason}\n  Its log: {ended.log}", err=True)

    typer.echo(f"Run {run_id} of {package.name}, in {folder}")
    with folder_lock.hold(folder):
        root = package.spec.get("defaultPipelineRoot", DEFAULT_ROOT)  # as `submit` does
        finished = LocalRun(package, values, run_id, folder, made, told, caching, root).run()
    if not finished.succeeded:
        typer.echo("Failed. What succeeded is cached: run the same command to carry on.", err=True)
        return Exit.FAILED
    code = 0
    summary = summary_of(package.spec, finished.outputs, lambda uri: LocalRun.path_in(folder, uri))
    if summary is None:
        typer.echo("Done.")
    else:
        code = print_verdict(summary, console())
    records = [o.artifacts[LINEAGE] for o in finished.outputs.values() if LINEAGE in o.artifacts]
    if records:
        place = LocalRun.path_in(folder, records[-1]["uri"])
        typer.echo(f"  Its lineage:  visionline lineage import {place}")
    return code


_WORDS: dict[Literal["SUCCEEDED", "CACHED", "FAILED", "SKIPPED"], str] = {
    "SUCCEEDED": "done",
    "CACHED": "cached",
    "FAILED": "failed",
    "SKIPPED": "skipped",
}
