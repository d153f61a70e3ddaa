"""The command line.  Each command imports what it needs when it runs."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from common import exits
from common.config.toml_file import settings
from common.errors import ConfigError, VisionlineError
from common.process.endings import end_when_told
from pipeline.cli.deploy import deploy
from pipeline.cli.erase import erase
from pipeline.cli.group import Group
from pipeline.cli.kubeflow.run import KUBEFLOW_LOCAL, compile_
from pipeline.cli.kubeflow.submit import submit
from pipeline.cli.label import label
from pipeline.cli.lineage import group as lineage
from pipeline.cli.places import ServingOption, output_folder, serving_folder
from pipeline.cli.relocate import relocate
from pipeline.cli.rollback import rollback
from pipeline.cli.settings import SetOption
from pipeline.cli.ui import ui
from pipeline.terminal import complain, console, print_json, table
from serving.cli import serve

app = typer.Typer(
    name="visionline",
    cls=Group,
    help="From a folder of labelled images to a served model, trained by Keras or PyTorch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def main() -> None:
    """The `visionline` command: errors for people, exit codes for scripts."""
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
        sys.exit(exits.INTERRUPTED)


app.add_typer(lineage.app, name="lineage")
app.command()(serve)
app.command()(rollback)
app.command()(label)
app.command()(erase)
app.command()(deploy)
app.command()(relocate)
app.command()(ui)
app.command(name="compile")(compile_)
app.command()(submit)


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; flags override it.")] = None,
    data: Annotated[str | None, typer.Option(help="Image folder, manifest or TFRecords.")] = None,
    framework: Annotated[str | None, typer.Option(help="One of `visionline models`.")] = None,
    model: Annotated[str | None, typer.Option(help="A name of `visionline models`.")] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Accuracy below which nothing is pushed (required).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Pixels: one side, or HEIGHTxWIDTH.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per training step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the schedule.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name in serving.")] = None,
    output: Annotated[str | None, typer.Option(help="Folder for all a pipeline makes.")] = None,
    serving: Annotated[str | None, typer.Option(help="Folder models are pushed to.")] = None,
    metadata: Annotated[
        str | None,
        typer.Option(help="Metadata store: a file, mysql://… or postgresql://…"),
    ] = None,
    schema: Annotated[str | None, typer.Option(help="A frozen schema.pbtxt.")] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="An anomaly that does not stop the run.")
    ] = None,
    runner: Annotated[str | None, typer.Option(help="beam, local or kubeflow-local.")] = None,
    beam_arg: Annotated[
        list[str] | None, typer.Option(help="An option for Beam, such as --direct_num_workers=2.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Of kubeflow-local: subprocess, podman or docker.")
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option(help="Of containers: CLAIM=FOLDER stands for a volume.")
    ] = None,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Push without comparing with what is served.")
    ] = False,
    cache: Annotated[bool, typer.Option(help="Of kubeflow-local: take what was done.")] = True,
    setting: SetOption = None,
    again: Annotated[
        str | None, typer.Option(help="A recorded run, once more: a run, served path or model.")
    ] = None,
) -> None:
    """Run the pipeline: from images to a pushed model."""
    flags = {
        "data.path": data,
        "train.framework": framework,
        "train.model": model,
        "train.epochs": epochs,
        "train.batch_size": batch_size,
        "train.learning_rate": learning_rate,
        "train.seed": seed,
        "transform.image_size": None if image_size is None else _image_size(image_size),
        "evaluate.min_accuracy": min_accuracy,
        "evaluate.baseline": "none" if no_baseline else None,
        "schema.frozen": schema,
        "schema.accept": accept,
        "push.destination": serving,
        "run.runner": runner,
        "run.beam_args": beam_arg,
        "run.output": output,
        "run.metadata": metadata,
        "name": name,
    }
    overrides = {k: v for k, v in flags.items() if v is not None and v != []}
    overrides |= settings(setting)
    if again is not None:
        from pipeline.cli.again import run_again

        raise typer.Exit(run_again(again, config, overrides))
    if runner == KUBEFLOW_LOCAL:
        from pipeline.cli.kubeflow.run import run_compiled

        raise typer.Exit(run_compiled(config, overrides, engine, volume or (), cache))
    for flag, is_given in (("--engine", engine), ("--volume", volume), ("--no-cache", not cache)):
        if is_given:
            raise ConfigError(f"{flag} is for --runner {KUBEFLOW_LOCAL}.")
    from pipeline.config import load_config

    raise typer.Exit(_run([load_config(config, overrides)]))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("build/demo"),
) -> None:
    """Train, judge and push a digit classifier, with Keras and with PyTorch."""
    from pipeline.demo import run_demo

    raise typer.Exit(run_demo(output, console()))


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help="Only names containing this.")] = "",
    framework: Annotated[str | None, typer.Option(help="One of `visionline models`.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models by name, with parameter counts for the small ones."""
    from pipeline.catalog import list_models

    found = list_models(pattern, framework)
    if as_json:
        print_json(found)
    else:
        table(
            ("framework", "model", "parameters"),
            [(m["framework"], m["model"], _millions(m["parameters"])) for m in found],
        )
    if not found:
        raise typer.Exit(exits.NOTHING_FOUND)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option(help="The pipeline's output folder.")] = None,
    freeze: Annotated[
        Path | None, typer.Option(help="Write the schema here, for --schema.")
    ] = None,
) -> None:
    """Show what the data looks like, or freeze it so that later data must match."""
    from pipeline.schemas import freeze_schema, latest_schema, show_schema

    uri = latest_schema(output_folder(output))
    if freeze is None:
        show_schema(uri, console())
    else:
        freeze_schema(uri, freeze)
        typer.echo(f"Schema written to {freeze}. Use it with: visionline run --schema {freeze} …")


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    serving: ServingOption = None,
    name: Annotated[str | None, typer.Option(help="The model's name.")] = None,
    version: Annotated[int | None, typer.Option(help="By default the latest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Classify images with a pushed model."""
    from modelstore.predictor import find_version
    from pipeline.predict import predict_files

    directory = find_version(serving_folder(serving), name, version)
    manifest, predictions, failures = predict_files(directory, images)
    if as_json:
        common = {"name": manifest.name, "version": manifest.version}
        print_json(
            [
                {"image": str(path), **common, "labels": p.labels, "scores": p.scores}
                for path, p in predictions
            ]
        )
    else:
        rows = [
            (str(path), p.labels[0], f"{p.scores[0]:.3f}", _runners_up(p.labels, p.scores))
            for path, p in predictions
        ]
        table(("image", f"{manifest.name} v{manifest.version}", "score", "then"), rows)
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(exits.FAILED)


@app.command()
def versions(
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    prune: Annotated[
        int | None,
        typer.Option(min=1, help="First remove those older than the newest so many."),
    ] = None,
    serving: ServingOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was pushed, and whether its files are still whole."""
    from pipeline.catalog import list_pushed, prune_pushed

    if prune is not None:
        for told in prune_pushed(serving_folder(serving), name, prune):
            typer.echo(told, err=True)
    found = list_pushed(serving_folder(serving), name)
    if as_json:
        print_json(found)
    else:
        table(
            ("name", "version", "framework", "model", "pushed at", "files"),
            [
                (
                    v["name"],
                    str(v["version"]),
                    v["framework"],
                    v["architecture"],
                    v["pushed_at"],
                    "whole" if not v["damage"] else "; ".join(v["damage"]),
                )
                for v in found
            ],
        )
    for v in found:
        if v["writable"]:
            complain(f"Warning: {v['name']} version {v['version']}: {v['writable']}")
    if not found:
        raise typer.Exit(exits.NOTHING_FOUND)


def _run(configs: list[Any]) -> int:
    from pipeline.run.closing import print_outcome
    from pipeline.run.display import make_display
    from pipeline.run.session import run_pipelines

    terminal = console()
    return print_outcome(run_pipelines(configs, make_display(terminal))[-1], terminal)


def _image_size(text: str) -> int | list[int]:
    try:
        sides = [int(part) for part in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise ConfigError(f"--image-size: expected 224 or 224x320 (height x width), got {text!r}.")
    return sides[0] if len(sides) == 1 else sides


def _runners_up(labels: Sequence[str], scores: Sequence[float]) -> str:
    pairs = list(zip(labels, scores, strict=True))
    return ", ".join(f"{label} {score:.3f}" for label, score in pairs[1:3])


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count:,}"


if __name__ == "__main__":
    main()
