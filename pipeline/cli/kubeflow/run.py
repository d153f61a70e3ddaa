"""`visionline kubeflow run`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from common.config.flags import SetOption, config_flags
from common.errors import Exit
from common.paths import check_folder
from common.process import folder_lock
from common.process.quiet import quiet_stderr
from lineage.store.workspace import new_run_id
from pipeline.cli.options import PackageArgument
from pipeline.cli.run import FLAGS, NoBaselineOption, all_overrides
from pipeline.config import PipelineConfig
from pipeline.kubeflow.local.engines import Name, make_engine
from pipeline.kubeflow.local.outcome import summary_of
from pipeline.kubeflow.local.runner import DEFAULT_ROOT, Ended, LocalRun
from pipeline.kubeflow.settings import prepare
from pipeline.kubeflow.spec import arguments
from pipeline.kubeflow.step import LINEAGE
from pipeline.run.closing import print_verdict
from pipeline.terminal import console

_WORDS: dict[Literal["SUCCEEDED", "CACHED", "FAILED", "SKIPPED"], str] = {
    "SUCCEEDED": "done",
    "CACHED": "cached",
    "FAILED": "failed",
    "SKIPPED": "skipped",
}


@config_flags(PipelineConfig, FLAGS, defaults=False)
def run(
    package: PackageArgument,
    *,
    overrides: dict[str, Any],
    engine: Annotated[
        Name, typer.Option(help="Run each task as a process, or in its image.")
    ] = "subprocess",
    volume: Annotated[
        list[str] | None,
        typer.Option(help="Let a folder stand for a volume, in containers: CLAIM=FOLDER."),
    ] = None,
    no_baseline: NoBaselineOption = False,
    cache: Annotated[bool, typer.Option(help="Take over what was done before.")] = True,
    setting: SetOption = None,
) -> None:
    """Run a compiled pipeline on this machine, as Kubeflow would on a cluster."""
    overrides = all_overrides(overrides, no_baseline, setting)
    raise typer.Exit(_run(package, overrides, engine, volume or (), cache))


def _run(
    path: Path, overrides: dict[str, Any], engine: Name, volumes: Sequence[str], caching: bool
) -> int:
    """Runs a compiled pipeline; returns the exit code.

    Args:
      overrides: values by the config's keys.

    Raises:
      ConfigError: it cannot be run so.
    """
    output = overrides.pop("run.output", None)
    with tempfile.TemporaryDirectory() as scratch, quiet_stderr():
        _, parameters, package = prepare(path, overrides, Path(scratch))
    values = arguments(package.spec, parameters)
    folder = Path(output or Path("visionline-runs") / f"{package.name}-kubeflow").absolute()
    check_folder("run.output", output or folder)
    check_folder("the folder for temporary files (TMPDIR)", tempfile.gettempdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise folder_lock.unwritable(folder, e) from None
    made = make_engine(engine, folder, package.volumes, volumes)
    run_id = new_run_id()

    def show(task: str, ended: Ended | None) -> None:
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
        finished = LocalRun(package, values, run_id, folder, made, show, caching, root).run()
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
