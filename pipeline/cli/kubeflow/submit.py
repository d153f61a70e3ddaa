"""`visionline kubeflow submit`: a compiled pipeline on a cluster, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from common.config.toml_file import settings
from common.errors import ConfigError, Exit
from pipeline.cli.options import PackageArgument
from pipeline.kubeflow.cluster.api import COOKIE, TOKEN, Api, Secret
from pipeline.kubeflow.cluster.submit import Schedule, Submission, Submitted
from pipeline.kubeflow.cluster.submit import submit as send
from pipeline.kubeflow.cluster.wait import Failure, Finished, wait
from pipeline.run.display import make_display
from pipeline.terminal import console, sayer

_PUSHER = "pusher"
_WITHDRAWN = "was made to roll back from this model"
"""The Pusher's reason for a model that was blessed; no run is unsuccessful for it."""
_BASELINE = "baseline"
_HINTS = {
    "Invalid region": "An s3:// root needs providers.s3 in the ConfigMap kfp-launcher: see "
    "docs/kubeflow.md, An object store of your own.",
}
"""What to do, by what the launcher says."""
_OTHER_ROOT = (
    "If the pipeline root has changed, Kubeflow cannot read what the cache has below the other "
    "one: submit with --no-cache."
)
_PORT = 8080


def submit(
    package: PackageArgument,
    endpoint: Annotated[
        str | None,
        typer.Option(envvar="KFP_ENDPOINT", help="Ask Kubeflow Pipelines' API at this URL."),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar="KFP_NAMESPACE", help="Run in this namespace, where there are several users."
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Read a token from this file; or set KFP_TOKEN.")
    ] = None,
    cookie_file: Annotated[
        Path | None, typer.Option(help="Read a session's cookie from this file; or set KFP_COOKIE.")
    ] = None,
    ui: Annotated[
        str | None, typer.Option(envvar="KFP_UI", help="Link to the UI at this URL.")
    ] = None,
    experiment: Annotated[
        str, typer.Option(help="Put the run into this experiment.")
    ] = "visionline",
    run_name: Annotated[
        str | None, typer.Option(help="Name the run; by default as the pipeline.")
    ] = None,
    pipeline_root: Annotated[
        str | None, typer.Option(help="Store artifacts there, not where it was compiled for.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--param", help="Set NAME=VALUE, such as epochs=5 or train.batch_size=64."),
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Run all pods as this account; by default the cluster's.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every task, whatever was done before.")
    ] = False,
    pipeline_name: Annotated[
        str | None, typer.Option(help="Upload it as a version of this pipeline, and run that.")
    ] = None,
    version_name: Annotated[
        str | None, typer.Option(help="Name the version; by default with the time.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="Let it recur at these times: six fields, seconds first.")
    ] = None,
    every: Annotated[int | None, typer.Option(help="Let it recur, so many seconds apart.")] = None,
    waits: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
) -> None:
    """Start a run of a compiled pipeline on Kubeflow Pipelines."""
    if not endpoint:
        raise ConfigError("Which cluster? --endpoint URL, or the variable KFP_ENDPOINT.")
    schedule = None
    if cron is not None or every is not None:
        schedule = Schedule(cron=cron, every=every)
        if waits:
            raise ConfigError("--wait is for a run; a recurring run has no end to wait for.")
    asked = Submission(
        package=package,
        experiment=experiment,
        name=run_name,
        pipeline_root=pipeline_root,
        parameters=settings(setting, "--param"),
        service_account=service_account,
        caching=not no_cache,
        pipeline=pipeline_name,
        version=version_name,
        schedule=schedule,
    )
    api = Api(
        endpoint=endpoint,
        namespace=namespace,
        token=Secret(TOKEN.name, TOKEN.variable, token_file),
        cookie=Secret(COOKIE.name, COOKIE.variable, cookie_file),
    )
    sent = send(asked, api)
    _print_start(sent, asked, api, ui)
    if waits:
        raise typer.Exit(_wait(sent, api))


def _print_start(sent: Submitted, asked: Submission, api: Api, ui: str | None) -> None:
    what, page = ("run", "runs") if asked.schedule is None else ("recurring run", "recurringrun")
    did = "Started" if asked.schedule is None else "Set up"
    typer.echo(f"{did} {what} {sent.id} of {sent.name}.")
    if sent.version is not None:
        typer.echo(f"  Version:  {sent.version}")
    path = f"#/{page}/details/{sent.id}"
    if ui or api.serves_ui():
        typer.echo(f"  {(ui or api.endpoint).rstrip('/')}/{path}")
        return
    typer.echo(
        f"  In the UI:  kubectl port-forward -n kubeflow svc/ml-pipeline-ui {_PORT}:80\n"
        f"              http://localhost:{_PORT}/{path}"
    )


def _wait(sent: Submitted, api: Api) -> int:
    """Shows the run until it has ended; returns the exit code."""
    display = make_display(console())
    display.begin(f"{sent.name} on {api.endpoint}", "Ctrl-C stops waiting; the run goes on.")
    try:
        finished = wait(api, sent.id, sent.tasks, display.handle)
    except (KeyboardInterrupt, SystemExit):
        display.stop()  # before anything is printed below the table
        typer.echo(f"No longer waiting. Run {sent.id} goes on.")
        raise
    finally:
        display.stop()
    return _print_end(finished, _PUSHER in sent.tasks, api)


def _print_end(finished: Finished, pushes: bool, api: Api) -> int:
    """Prints how the run ended; returns the exit code."""
    say = sayer(console())
    if finished.state == "SUCCEEDED":
        say("The run succeeded.", "green")
        return _print_verdict(finished, say) if pushes else 0
    if finished.state in ("CANCELED", "SKIPPED"):
        say("The run was terminated before its end.", "red")
        return Exit.FAILED
    for failure in finished.failures:
        _print_failure(failure, finished.namespace or api.namespace or "kubeflow", say)
    say(f"The run failed. {finished.error}".strip(), "red")
    return Exit.FAILED


def _print_verdict(finished: Finished, say: Callable[..., None]) -> int:
    """Prints what became of the model; returns the exit code, that of `visionline run`."""
    for line in finished.pushed:
        say(line, "green")
    for line in finished.not_pushed:
        say(line, "red")
    if finished.not_pushed:
        withdrawn = all(_WITHDRAWN in line for line in finished.not_pushed)
        return 0 if withdrawn else Exit.NOT_BLESSED
    if not finished.pushed:
        say(
            "Whether the model was blessed, and with that pushed, is not known: the API has no "
            f"log of the task {_PUSHER}."
        )
    return 0


def _print_failure(failure: Failure, namespace: str, say: Callable[..., None]) -> None:
    say(f"{failure.task} failed: {failure.reason or 'the API tells no reason.'}", "red")
    for sign, hint in _HINTS.items():
        if sign in failure.reason or any(sign in line for line in failure.log):
            say(f"  {hint}")
    if failure.task == _BASELINE:
        say(f"  {_OTHER_ROOT}")
    for line in failure.log:
        say(f"  | {line}", "dim")
    if failure.pod is None:
        return
    which = "The whole log" if failure.log else "The API has no log of it any more; its pod's"
    say(f"  {which}:  kubectl logs -n {namespace} {failure.pod} -c main")
