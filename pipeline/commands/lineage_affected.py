"""`lineage affected`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import exits
from pipeline.commands.lineage import (
    JsonOption,
    MetadataOption,
    OutputOption,
    answer_json,
    app,
    asking,
)
from trainers.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.lineage.affected import Affected, AffectedData
    from pipeline.lineage.store import Reader

_MODELS = 1000
_WHY = {
    "not recorded": "no ingestion report is recorded",
    "deleted": "the ingestion report is marked as deleted",
    "gone": "the ingestion report's files are gone",
    "older": "ingested before there were indexes",
    "unreadable": "the index cannot be read",
}


@app.command()
def affected(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]",
            help="A dataset (artifact id, URI or digest), schema or transform graph; or a run, "
            "model or version: its data.",
        ),
    ] = None,
    span: Annotated[int | None, typer.Option(help="All data of a span.")] = None,
    version: Annotated[int | None, typer.Option(help="Only this version of the span.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="An image file; found by its content, not its name.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="The SHA-256 of an image file.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Not only the newest {_MODELS} models.")
    ] = False,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every model and pushed version that was built on some data."""
    if sum(given is not None for given in (ref, span, image, sha256)) != 1:
        raise ConfigError("Expected one of REF, --span, --image and --sha256.")
    if version is not None and span is None:
        raise ConfigError("--version is one of a --span; name that, too.")
    limit = None if everything else _MODELS
    content = _content(image, sha256)
    with asking(output, metadata, ref) as reader:
        found = _answer(reader, ref, span, version, content, limit)
    if as_json:
        answer_json("affected", found)
    else:
        _show(found, image)
    if not found.model_count:
        raise typer.Exit(exits.NOTHING_FOUND)


def _answer(
    reader: Reader,
    ref: str | None,
    span: int | None,
    version: int | None,
    content: str | None,
    limit: int | None,
) -> Affected:
    from pipeline.lineage.affected import affected_by, affected_by_image, affected_by_span

    if span is not None:
        return affected_by_span(reader, span, version, limit)
    if content is not None:
        return affected_by_image(reader, content, limit)
    return affected_by(reader, str(ref), limit)


def _content(image: Path | None, sha256: str | None) -> str | None:
    """The SHA-256 that is asked about."""
    if sha256 is not None:
        if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise ConfigError(f"--sha256: expected 64 hexadecimal digits, got {sha256!r}.")
        return sha256.lower()
    if image is None:
        return None
    from trainers.files import sha256_file

    if not image.is_file():
        found = "that is a folder" if image.is_dir() else "there is no such file"
        raise ConfigError(f"--image: expected an image file, got {str(image)!r}: {found}.")
    try:
        return sha256_file(image)
    except OSError as e:
        raise ConfigError(f"--image: cannot read {str(image)!r}: {e.strerror}.") from None


def _show(found: Affected, image: Path | None) -> None:
    from pipeline.terminal import table

    if found.sha256 is not None:
        _show_search(found, image)
    if not found.data:
        return
    table(
        ["data", "type", "span", "images", "as", "where"],
        [_data_row(d, seen) for d in found.data for seen in (_seen(d) or ["-"])],
    )
    typer.echo()
    if not found.model_count:
        typer.echo("No model was built on it.")
        return
    if found.versions:
        table(
            ["version", "serving", "accuracy", "pushed", "run", "model"],
            [
                [
                    f"{v.name}@{v.version}" if v.name else v.destination or "-",
                    *(v.serving or "-", _number(v.accuracy), _date(v.when)),
                    *(v.run_id or "-", str(v.model_id)),
                ]
                for v in found.versions
            ],
        )
        _more(found.version_count - len(found.versions), "versions, no longer served")
    else:
        typer.echo("Nothing that was built on it was pushed.")
    typer.echo()
    table(
        ["model", "framework", "architecture", "accuracy", "made", "run"],
        [
            [
                *(str(m.artifact_id), m.framework or "-", m.architecture or "-"),
                *(_number(m.accuracy), _date(m.when), m.run_id or "-"),
            ]
            for m in found.models
        ],
    )
    _more(found.model_count - len(found.models), "models")


def _show_search(found: Affected, image: Path | None) -> None:
    if not found.data:
        typer.echo(f"No dataset that could be searched holds the SHA-256 {found.sha256}.")
        if image is not None and not _is_image(image):
            typer.echo(f"{image} is not an image that can be read, so it was never ingested.")
    for reason, count in found.unsearched.items():
        datasets = "dataset" if count == 1 else "datasets"
        typer.echo(f"{count} {datasets} could not be searched: {_WHY[reason]}.")


def _is_image(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path):
            return True
    except (UnidentifiedImageError, OSError, ValueError):
        return False


def _seen(data: AffectedData) -> list[str]:
    return [f"{i.split}/{i.label}: {i.path}" for i in data.images]


def _data_row(data: AffectedData, seen: str) -> list[str]:
    known = data.facts
    return [
        *(str(data.artifact_id), data.type),
        str(known.span) if known and known.span is not None else "-",
        str(known.images) if known and known.images is not None else "-",
        *(seen, (known.source if known else None) or data.uri),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _date(when: str) -> str:
    return when[:10]


def _more(count: int, what: str) -> None:
    if count:
        typer.echo(f"… and {count} more {what}; --all lists them.")
