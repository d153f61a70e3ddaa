"""`visionline data`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from common import formats
from common.config import strict, toml_file
from common.config.flags import ConfigOption, SetOption
from common.errors import ConfigError, DataError
from components.example_gen.config import DataConfig
from components.example_gen.preview.summary import Preview, Spread, preview
from components.example_gen.preview.thumbnails import Thumbnails
from pipeline.cli.options import JsonOption
from pipeline.terminal import console, print_json, progress_bar, sayer, sections, table

FORMAT = "visionline.data/1"
"""What `"format"` says in the JSON; the number grows when a field changes its meaning."""
_LISTED = 10
"""Images that are shown of a kind of which there may be very many; --json has all."""
_KINDS = 10
"""Kinds of files that are shown, of those there are."""
_CLASSES = 40
"""Classes of a table that is shown whole."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def data(
    path: Annotated[
        str | None,
        typer.Argument(help="Name the folder or file of images; by default the config's."),
    ] = None,
    config: ConfigOption = None,
    setting: SetOption = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Draw some images of each class into this folder; see its index.html."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Draw other images of each class with another number.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would read, and what is odd about it; trains nothing."""
    settings = data_config(path, config, toml_file.settings(setting))
    thumbnails = None
    if sheet is not None:
        from pipeline.contact_sheet import check_folder

        check_folder(sheet, Path(settings.path))
        thumbnails = Thumbnails(seed=seed)
    with progress_bar() as progress:
        found, splits = preview(settings, thumbnails=thumbnails, progress=progress)
    if thumbnails is not None and sheet is not None:
        from pipeline.contact_sheet import draw

        said = {"facts": list(_facts(found)), "lists": list(_lists(found))}
        draw(sheet, found, thumbnails.by_class(), splits, **said)
    if as_json:
        print_json({"format": FORMAT, **strict.dump(found)})
    else:
        _show(found)
        if sheet is not None:
            sayer(console())(f"Pictures of each class: {sheet / 'index.html'}", "green")
    if found.refused is not None:
        raise DataError(found.refused)


def data_config(path: str | None, file: Path | None, settings: Mapping[str, Any]) -> DataConfig:
    """Reads the table [data] of a config, and lays settings and a path over it.

    Raises:
      ConfigError: what cannot be used, or no path.
    """
    for key in settings:
        if key.partition(".")[0] != "data":
            raise ConfigError(f"--set: expected a key of [data], such as data.format, got {key!r}.")
    tables = toml_file.read(file)
    toml_file.overlay(tables, dict(settings) | ({"data.path": path} if path is not None else {}))
    if "data" not in tables:
        raise ConfigError("Say which images: `visionline data FOLDER`, or path in [data].")
    return strict.parse(DataConfig, tables["data"], "data.")


def _show(found: Preview) -> None:
    sections([(_plain(found.path), list(_facts(found)))])
    say = sayer(console())
    say("")
    table(*_class_table(found))
    for title, lines in _lists(found):
        say(f"\n{title}", "bold")
        for line in lines:
            say(f"  {line}")


def _facts(found: Preview) -> Iterator[tuple[str, str]]:
    report = found.report or {}
    yield "read as", found.understood
    yield (
        "images",
        f"{sum(found.classes.values()):,} in {sum(map(bool, found.classes.values())):,} classes",
    )
    if report:
        yield "splits", formats.counts({n: s["images"] for n, s in report["splits"].items()})
    for name, spread, form in (
        ("width", found.width, formats.count),
        ("height", found.height, formats.count),
        ("file size", found.bytes, formats.size),
    ):
        if spread is not None:
            yield name, _spread(spread, form)
    yield "files", _counted(found.originals) or "none can be used"
    if report:
        yield "normalised", _counted(report["normalised"]) or "none, all are used as they are"
        yield "ignored", _counted(report["ignored"]) or "nothing"
    yield "quarantined", _counted(Counter(q.reason for q in found.quarantine)) or "none"
    if report:
        yield "duplicates", _duplicates(report["duplicates"])


def _counted(counts: Mapping[str, int]) -> str:
    """Writes what there is most of first."""
    most = Counter(counts).most_common()
    others = [f"and {len(most) - _KINDS} other kinds"] if len(most) > _KINDS else []
    return ", ".join([f"{n:,} × {what}" for what, n in most[:_KINDS]] + others)


def _spread(spread: Spread, form: Any) -> str:
    if spread.min == spread.max:
        return f"{form(spread.min)}, all"
    return f"{form(spread.min)} to {form(spread.max)}, median {form(spread.median)}"


def _duplicates(duplicates: Mapping[str, Any]) -> str:
    copies = duplicates["copies"]
    found = [f"{copies:,} {'copy' if copies == 1 else 'copies'}"] if copies else []
    for kind, words in _ACROSS.items():
        if count := duplicates[kind]["count"]:
            found.append(f"{count:,} {words}")
    return "; ".join(found) or "none"


_ACROSS = {
    "across_splits": "in more than one split",
    "across_labels": "under more than one label",
}


def _places(content: Mapping[str, Any]) -> str:
    """Writes where a content is: a path for each split or label, which come first."""
    pairs = zip(content["paths"], content["in"], strict=False)
    return " = ".join(f"{_plain(path)} ({value})" for path, value in pairs)


def _plain(path: str) -> str:
    """Writes what a terminal would obey, or end a line at, as a number."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], path)


def _class_table(found: Preview) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Columns and rows: all classes by name, or the largest and the smallest of many."""
    splits = found.report["splits"] if found.report else {}
    names = list(found.classes)
    gap = len(names) - _CLASSES
    if gap > 0:
        names.sort(key=lambda name: (-found.classes[name], name))
        names = names[: _CLASSES // 2] + names[-_CLASSES // 2 :]
    rows = [
        (n, *(f"{s['classes'].get(n, 0):,}" for s in splits.values()), f"{found.classes[n]:,}")
        for n in names
    ]
    if gap > 0:
        more = f"… {gap:,} more, --json has them"
        rows.insert(_CLASSES // 2, (more, *[""] * (len(splits) + 1)))
    return ("class", *splits, "all"), rows


def _lists(found: Preview) -> Iterator[tuple[str, Sequence[str]]]:
    """Titles, and the lines below them."""
    if found.quarantine:
        lines = [
            f"{_plain(q.path)}: {q.reason}" + (f" ({q.detail})" if q.detail else "")
            for q in found.quarantine[:_LISTED]
        ]
        more = len(found.quarantine) - len(lines)
        yield "Quarantined", lines + ([f"and {more:,} more, --json has them"] if more else [])
    if found.report:
        for kind, words in _ACROSS.items():
            # A notice has the first.
            if more := found.report["duplicates"][kind]["first"][1:_LISTED]:
                yield f"Other images {words}", [_places(each) for each in more]
    if found.suspicious:
        yield "To look at", [s.message for s in found.suspicious]
    if notices := found.report and found.report["notices"]:
        yield "Notices", notices
