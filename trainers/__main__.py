"""Trains a model without the pipeline: `python -m trainers --help`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from common.config import toml_file
from common.config.flags import SetOption, config_flags
from common.config.strict import dump, parse
from common.errors import ConfigError, Exit, VisionlineError
from common.files import write_json
from common.process.progress import FD_VARIABLE, events
from modelstore.artifact import NATIVE
from modelstore.tasks import TASKS
from trainers.config import TrainConfig
from trainers.frameworks import get_framework

_FLAGS = {
    name: name
    for name in (
        *("framework", "model", "epochs", "batch_size", "learning_rate", "seed", "threads"),
    )
}
_ARRAYS, _SUMMARY = "arrays", "training.json"
_SIZE = re.compile(r"(\d+)(?:x(\d+))?")
_LEAST, _MOST = 8, 2048
"""Of a side, as in `pipeline.config`."""
_HEADLINES = tuple(task.HEADLINE for task in TASKS.values())
_CLEAR = "\r\033[K"


@config_flags(TrainConfig, _FLAGS)
def train(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Images in a folder for each class, or train/ and val/ with such folders, or "
            "with images_NHW3.npy and labels_N.npy."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Write the model, its history and curves into this new folder.")
    ],
    *,
    overrides: dict[str, Any],
    setting: SetOption = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Make images so large: height and width as 224x320, or one number; 224 if not "
            "given. Arrays are as large as they are."
        ),
    ] = None,
    resize: Annotated[
        Literal["stretch", "crop", "pad"],
        typer.Option(help="How: change the aspect ratio, cut the longer side, or add black bars."),
    ] = "stretch",
    val_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the images to validate on.")
    ] = 0.2,
    export: Annotated[
        bool, typer.Option("--export", help="Write model.onnx, too, and compare it.")
    ] = False,
) -> None:
    """Train a model on a folder of images or arrays, without the pipeline.

    Keys of --set are those of [train] in docs/configuration.md.  Needs one framework, and
    neither TFX nor the other one.  The SavedModel, which carries the transform graph, evaluation
    and the record of what was done are the pipeline's: `visionline run`.
    """
    try:
        config = _config(overrides, setting)
        size = _image_size(image_size) if image_size else None
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"--out: expected a new folder, got {out}, which has something.")
        # Before anything is imported that reads them.
        os.environ.update(get_framework(config.framework).variables(config.threads))
        with _printed():
            _train(config, folder, out, size, resize, val_fraction, export)
    except VisionlineError as e:
        typer.echo(f"Error: {e}", err=True)
        raise typer.Exit(e.exit_code) from None
    except Exception as e:
        from trainers.job import explain

        typer.echo(f"Error: Training failed: {explain(e)}", err=True)
        raise typer.Exit(Exit.FAILED) from None
    except KeyboardInterrupt:
        from trainers.history import kept

        typer.echo(f"Interrupted. {kept(out)}".strip(), err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None


def _config(overrides: dict[str, Any], setting: list[str] | None) -> TrainConfig:
    data: dict[str, Any] = {}
    # As in a config file, too, which has them in a table.
    settings = {k.removeprefix("train."): v for k, v in toml_file.settings(setting).items()}
    toml_file.overlay(data, {**overrides, **settings})
    for name in ("framework", "model"):
        if name not in data:
            raise ConfigError(f"--{name} is missing; `visionline models` lists both.")
    config = parse(TrainConfig, data)
    if config.input == "stream":
        raise ConfigError(
            'input: expected "arrays" or your own function, got "stream", which reads what the '
            "pipeline ingested; use `visionline run`."
        )
    return config


def _image_size(text: str) -> tuple[int, int]:
    size = _SIZE.fullmatch(text)
    sides = (int(size[1]), int(size[2] or size[1])) if size else (0, 0)
    if not all(_LEAST <= side <= _MOST for side in sides):
        raise ConfigError(
            f"--image-size: expected 224 or 224x320 (height x width), each {_LEAST} to {_MOST}, "
            f"got {text!r}."
        )
    return sides


def _train(
    config: TrainConfig,
    folder: Path,
    out: Path,
    image_size: tuple[int, int] | None,
    resize: Literal["stretch", "crop", "pad"],
    val_fraction: float,
    export: bool,
) -> None:
    from trainers import folders
    from trainers.contract import load_backend
    from trainers.job import TrainJob, fit

    if not folder.is_dir():
        raise ConfigError(f"Expected a folder of images or arrays, found none at {folder}.")
    found = folders.find_arrays(folder)
    if found and image_size:
        raise ConfigError(f"--image-size: expected none, since {folder} holds arrays.")
    found = found or folders.write_arrays(
        folder,
        out / _ARRAYS,
        image_size=image_size or (224, 224),
        resize=resize,
        val_fraction=val_fraction,
        seed=config.seed,
        say=typer.echo,
    )
    out.mkdir(parents=True, exist_ok=True)
    try:
        backend = load_backend(config.framework)
    except ModuleNotFoundError:
        get_framework(config.framework).require_installed()
        raise
    accelerator = backend.configure(threads=config.threads, seed=config.seed)
    job = TrainJob(
        config=config,
        train_split=str(found.train),
        val_split=str(found.val),
        class_names=found.class_names,
        transform_graph="",
        model_dir=str(out),
        run_dir=str(out),
        dataset_digest="",
        transform_digest="",
    )
    fitted = fit(backend, job, accelerator=accelerator)
    best = min(fitted.epochs, key=lambda epoch: epoch.val_loss)
    summary = {
        "config": dump(config),
        "class_names": found.class_names,
        "image_size": fitted.compared_NHW3.shape[1:3],
        "resize": resize,
        "accelerator": accelerator,
        "versions": backend.versions(),
        "parameter_count": fitted.learner.parameter_count,
        "best_epoch": best.figures(TASKS[config.task].HEADLINE),
    }
    write_json(out / _SUMMARY, summary)
    if export:
        from trainers.export import write_onnx

        difference = write_onnx(fitted.learner, out, fitted.compared_NHW3)
        typer.echo(f"model.onnx differs by at most {difference:.1g} in any score.")
    typer.echo(f"Epoch {best.epoch} was the best; its model is in {out / NATIVE}.")


@contextlib.contextmanager
def _printed() -> Iterator[None]:
    """Prints the progress that a training tells whoever started it."""
    reading, writing = os.pipe()
    os.environ[FD_VARIABLE] = str(writing)
    printer = threading.Thread(target=_print, args=[reading])
    printer.start()
    try:
        yield
    finally:
        del os.environ[FD_VARIABLE]
        os.close(writing)
        printer.join()


def _print(reading: int) -> None:
    live = sys.stdout.isatty()
    for event in events(reading):
        if event["kind"] == "epoch":
            figures = {k: v for k, v in event.items() if k.endswith(("loss", *_HEADLINES))}
            told = ", ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in figures.items())
            rate = f"{event['images_per_second']:,.0f} images/s"
            print(f"{_CLEAR * live}epoch {event['epoch']}/{event['epochs']}: {told}, {rate}")
        elif event["kind"] == "progress" and live:
            done = f"{event['step']}/{event['steps']} steps, loss {event['loss']:.4f}"
            print(f"{_CLEAR}epoch {event['epoch']}/{event['epochs']}: {done}", end="", flush=True)


def main() -> None:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(train)
    app(prog_name="python -m trainers")


if __name__ == "__main__":
    main()
