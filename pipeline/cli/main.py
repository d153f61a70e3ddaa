"""The command line."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from common.errors import Exit, VisionlineError
from common.process.endings import end_when_told
from pipeline.cli.group import Group
from pipeline.terminal import complain


class Commands(Group):
    """All commands."""

    places = {
        "run": ("pipeline.cli.run:run", "Run the pipeline: from images to a pushed model."),
        "data": ("pipeline.cli.data:data", "Show what a run would read, without training."),
        "augment": ("pipeline.cli.augment:augment", "Show what augmentation does to images."),
        "demo": ("pipeline.cli.demo:demo", "Train and push a digit classifier in two frameworks."),
        "models": ("pipeline.cli.models:models", "List the models that can be trained."),
        "schema": ("pipeline.cli.schema:schema", "Show what the data looks like, or freeze it."),
        "curves": ("pipeline.cli.curves:curves", "Draw how trainings went, in one picture."),
        "predict": ("pipeline.cli.predict:predict", "Classify images with a pushed model."),
        "serve": ("serving.cli:serve", "Serve the pushed models over REST and gRPC."),
        "deploy": ("pipeline.cli.deploy:deploy", "Serve a pushed model on Kubernetes."),
        "versions": ("pipeline.cli.versions:versions", "List, check or prune what was pushed."),
        "label": ("pipeline.cli.label:label", "Show or change the labels of a model's versions."),
        "rollback": ("pipeline.cli.rollback:rollback", "Serve an older version again."),
        "lineage": (
            "pipeline.cli.lineage.group:Lineage",
            "Ask where models come from, what became of them, and why.",
        ),
        "ui": ("pipeline.cli.ui:ui", "Show runs, models and lineage in a browser."),
        "erase": ("pipeline.cli.erase:erase", "Remove withdrawn images, and say who used them."),
        "stop": ("pipeline.cli.stop:stop", "End the processes that runs left behind."),
        "relocate": ("pipeline.cli.relocate:relocate", "Tell an output folder that it was moved."),
        "kubeflow": (
            "pipeline.cli.kubeflow.group:Kubeflow",
            "Compile the pipeline for Kubeflow Pipelines, and run it.",
        ),
    }
    moved = {"compile": "kubeflow compile", "submit": "kubeflow submit"}


app = typer.Typer(
    name="visionline",
    cls=Commands,
    help="From a folder of labelled images to a served model, trained by Keras or PyTorch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Runs the `visionline` command: errors for people, exit codes for scripts."""
    end_when_told()
    sys.path.append("")  # own models lie in the folder visionline is run in
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are not UTF-8
    try:
        app(prog_name="visionline")
    except VisionlineError as e:
        complain(f"visionline: {e}")
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version  # which other commands have no use for

        typer.echo(f"visionline {version('visionline')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()
