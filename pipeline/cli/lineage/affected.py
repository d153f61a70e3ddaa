"""`visionline lineage affected`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import typer

from common.errors import ConfigError, Exit
from common.formats import cell, share
from lineage.graph.measured import headline_of
from lineage.images.copies import Copy
from lineage.questions.affected import Affected, AffectedData, affected_by, affected_by_span
from lineage.questions.affected_images import AffectedImage, AffectedImages, affected_by_images
from pipeline.cli.image_list import images_asked, not_images, shown
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import DigestOption, ImageOption, ListOption
from pipeline.cli.words import serving
from pipeline.terminal import table

_MODELS = 1000
_WHY = {
    "not recorded": "no ingestion report is recorded",
    "deleted": "the ingestion report is marked as deleted",
    "gone": "the ingestion report's files are gone",
    "older": "ingested before there were indexes",
    "unreadable": "the index cannot be read, or is not whole",
    "elsewhere": "the ingestion report is on another machine",
}
_SEVERAL = {
    "trained": "trained on",
    "selected": "selected by",
    "unknown": "not known for what",
    "judged": "only judged by",
    "unused": "not used",
}
"""What models did with images."""
_ONE = {use: f"{did} it" if did.endswith(("on", "by")) else did for use, did in _SEVERAL.items()}
"""With a single one."""
_LISTED = 20
"""Rows of a kind that are shown where there may be very many; --json has all."""


@asks
def affected(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]",
            help="Name a dataset (artifact id, URI or digest), schema or transform graph; or a "
            "run, model or version, whose data is meant.",
        ),
    ] = None,
    span: Annotated[int | None, typer.Option(help="Ask about all data of a span.")] = None,
    version: Annotated[
        int | None, typer.Option(help="Ask only about this version of the span.")
    ] = None,
    image: ImageOption = None,
    images_from: ListOption = None,
    sha256: DigestOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Show not only the newest {_MODELS} models.")
    ] = False,
    *,
    store: Store,
) -> None:
    """List every model and pushed version that was built on some data, or on some images."""
    by_image = bool(image or sha256 or images_from is not None)
    if (ref is not None) + (span is not None) + by_image != 1:
        raise ConfigError(
            "Expected one of REF, --span, and images (--image, --images-from, --sha256)."
        )
    if version is not None and span is None:
        raise ConfigError("--version is one of a --span; name that, too.")
    limit = None if everything else _MODELS
    asked = images_asked(image, images_from, sha256)
    with store.open(ref) as reader:
        if by_image:
            images = affected_by_images(reader, asked, limit)
            store.answer("affected-images", images, _show_images)
            answer: Affected = images
        else:
            if span is not None:
                answer = affected_by_span(reader, span, version, limit)
            else:
                answer = affected_by(reader, str(ref), limit)
            store.answer("affected", answer, _show_affected)
    if not answer.model_count:
        raise typer.Exit(Exit.CANNOT_TELL if answer.cannot_tell else Exit.NOTHING_FOUND)


def _show_affected(answer: Affected) -> None:
    _show_data(answer, {})
    _show_models(answer, {})
    _show_unknown(answer)


def _show_images(answer: AffectedImages) -> None:
    """Prints where images were used, and what could not be looked at."""
    several = len(answer.images) > 1
    if several:
        _show_list(answer)
    _show_data(answer, _seen(answer))
    if answer.data:
        _show_models(answer, _uses(answer.images, several))
    if answer.copies:
        _show_copies(answer.copies)
    _show_search(answer)
    _show_unknown(answer)


def _show_list(answer: AffectedImages) -> None:
    rows = []
    for image in answer.images[:_LISTED]:
        uses: Counter[str] = Counter(u.use for u in image.uses)
        counts = ", ".join(f"{_SEVERAL[use]}: {uses[use]}" for use in _SEVERAL if uses[use])
        name = image.sha256 if image.asked is None else shown(image.asked)
        rows.append([name, image.state, counts or "-"])
    table(["image", "in a dataset", "models"], rows)
    _more(len(answer.images) - len(rows), "images", "--json")
    typer.echo()


def _seen(answer: AffectedImages) -> dict[int, list[str]]:
    """What of a dataset was asked for, by its artifact id."""
    seen: dict[int, list[str]] = {}
    for image in answer.images:
        for i in image.ingested:
            seen.setdefault(i.artifact_id, []).append(f"{i.split}/{i.label}: {i.path}")
    return seen


def _uses(images: tuple[AffectedImage, ...], several: bool) -> dict[int, str]:
    """What each model did with the images, in words."""
    counts: dict[int, Counter[str]] = {}
    for image in images:
        for use in image.uses:
            counts.setdefault(use.model_id, Counter())[use.use] += 1
    if not several:
        return {model: _ONE[use] for model, tally in counts.items() for use in tally}
    return {
        model: ", ".join(f"{_SEVERAL[use]} {tally[use]}" for use in _SEVERAL if tally[use])
        for model, tally in counts.items()
    }


def _show_data(answer: Affected, seen: Mapping[int, list[str]]) -> None:
    if not answer.data:
        return
    rows = []
    for data in answer.data:
        images = seen.get(data.artifact_id) or ["-"]
        rows += [_data_row(data, name) for name in images[:_LISTED]]
        if len(images) > _LISTED:
            rows.append(_data_row(data, f"… and {len(images) - _LISTED} more; --json has them"))
    table(["data", "type", "span", "images", "as", "where"], rows)
    typer.echo()


def _show_models(answer: Affected, uses: Mapping[int, str]) -> None:
    if not answer.model_count:
        typer.echo("No model was built on it.")
        return
    use = ["use"] if uses else []
    if answer.versions:
        table(
            ["version", "serving", headline_of(answer.versions), "pushed", "run", "model", *use],
            [
                [
                    f"{v.name}@{v.version}" if v.name else v.destination or "-",
                    *(serving(v.serving), cell(v.headline_value, share), _date(v.when)),
                    *(v.run_id or "-", str(v.model_id)),
                    *([uses.get(v.model_id, "-")] if uses else []),
                ]
                for v in answer.versions
            ],
        )
        _more(answer.version_count - len(answer.versions), "versions, no longer served")
    else:
        typer.echo("Nothing that was built on it was pushed.")
    typer.echo()
    table(
        ["model", "framework", "architecture", headline_of(answer.models), "made", "run", *use],
        [
            [
                *(str(m.artifact_id), m.framework or "-", m.architecture or "-"),
                *(cell(m.headline_value, share), _date(m.when), m.run_id or "-"),
                *([uses.get(m.artifact_id, "-")] if uses else []),
            ]
            for m in answer.models
        ],
    )
    _more(answer.model_count - len(answer.models), "models")


def _show_copies(copies: tuple[Copy, ...]) -> None:
    words = {"pixels": "yes", "maybe": "it may be among them", "name": "its name and digest"}
    typer.echo()
    table(
        ["copies", "images", "there", "where"],
        [[c.kind, str(c.images), words[c.holds], c.where] for c in copies[: 5 * _LISTED]],
    )
    _more(len(copies) - 5 * _LISTED, "places", "--json")
    typer.echo("Not looked at: request logs of servers, and what was copied to other machines.")


def _show_search(answer: AffectedImages) -> None:
    total = sum(answer.searched.values())
    missing = [i for i in answer.images if i.state != "found"]
    if missing:
        which = (
            f"the SHA-256 {missing[0].sha256}"
            if len(answer.images) == 1
            else f"{len(missing)} of the images"
        )
        typer.echo(f"None of the {total} datasets that could be searched holds {which}.")
        for name in not_images(i.asked for i in missing)[:_LISTED]:
            typer.echo(f"{name} is not an image that can be read, so it was never ingested.")
    for dataset in answer.unsearched[:_LISTED]:
        typer.echo(
            f"Not searched: dataset {dataset.artifact_id}, {dataset.uri}: "
            f"{_WHY[dataset.index]}; its records: {dataset.records}."
        )
    _more(len(answer.unsearched) - _LISTED, "datasets that could not be searched", "--json")
    if answer.cannot_tell:
        typer.echo("So whether a model was built on it cannot be told; nothing says that none was.")
    elif answer.unsearched:
        typer.echo("What is told above may not be all: not every dataset could be searched.")


def _show_unknown(answer: Affected) -> None:
    if answer.unknown_models:
        ids = ", ".join(map(str, answer.unknown_models[:_LISTED]))
        typer.echo(
            f"Of {len(answer.unknown_models)} models it is not recorded what they were made "
            f"from: {ids}{' …' if len(answer.unknown_models) > _LISTED else ''}."
        )
    for model_id, path in [*answer.foreign_weights.items()][:_LISTED]:
        typer.echo(
            f"Model {model_id} began with the weights {path}; what those were trained on is "
            "not recorded."
        )


def _data_row(data: AffectedData, seen: str) -> list[str]:
    described = data.facts
    return [
        *(str(data.artifact_id), data.type),
        str(described.span) if described and described.span is not None else "-",
        str(described.images) if described and described.images is not None else "-",
        *(seen, (described.source if described else None) or data.uri),
    ]


def _date(when: str) -> str:
    return when[:10]


def _more(count: int, what: str, option: str = "--all") -> None:
    if count > 0:
        typer.echo(f"… and {count} more {what}; {option} lists them.")
