"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _text(value: str | None) -> str | None:
    """Refuses what the shell may pass and no store can hold."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("expected UTF-8 text.") from None
    return value


REF_HELP = "Name a served path, NAME@VERSION, NAME, artifact URI or id, or run name."
RefArgument = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP, callback=_text)]
_NAME = typer.Argument(
    metavar="NAME", help="Name a model, or its folder in serving.", callback=_text
)
NameArgument = Annotated[str, _NAME]
OptionalNameArgument = Annotated[str | None, _NAME]
PushedNameArgument = Annotated[str, typer.Argument(help="Name the model as it is in serving.")]
ConfigArgument = Annotated[
    Path | None, typer.Argument(help="Read this TOML file; flags override it.")
]
PackageArgument = Annotated[
    Path, typer.Argument(help="Name the package that `visionline kubeflow compile` wrote.")
]

OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Name the pipeline's output folder.")
]
MetadataOption = Annotated[
    str | None,
    typer.Option("--metadata", help="Name the metadata store, instead of the output folder's."),
]
ServingOption = Annotated[
    Path | None,
    typer.Option(
        "--serving", help="Name the serving folder; by default the one below visionline-runs/."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, help="Show the newest, so many at most.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Say why; it is recorded with who and when.")
]

ImageOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        help="Ask about an image file, or a folder of them; content counts, not names. Repeatable.",
    ),
]
ListOption = Annotated[
    str | None,
    typer.Option(
        "--images-from",
        metavar="FILE",
        help="Read names of image files: one a line, or each ended by a NUL; - is standard input.",
    ),
]
DigestOption = Annotated[
    list[str] | None,
    typer.Option("--sha256", help="Give the SHA-256 of an image file. Repeatable."),
]
