"""`visionline predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from common.errors import Exit
from modelstore.serving_folder import find_version
from pipeline.cli.options import JsonOption, ServingOption
from pipeline.cli.places import serving_folder
from pipeline.predict import predict_files
from pipeline.terminal import complain, print_json, table


def predict(
    images: Annotated[list[Path], typer.Argument(help="Name the image files.")],
    serving: ServingOption = None,
    name: Annotated[str | None, typer.Option(help="Name the model, where there are more.")] = None,
    version: Annotated[int | None, typer.Option(help="Ask this version, not the latest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Classify images with a pushed model."""
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
        raise typer.Exit(Exit.FAILED)


def _runners_up(labels: Sequence[str], scores: Sequence[float]) -> str:
    pairs = list(zip(labels, scores, strict=True))
    return ", ".join(f"{label} {score:.3f}" for label, score in pairs[1:3])
