"""`visionline lineage …`: questions about what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.group import Group
from pipeline.terminal import print_json

if TYPE_CHECKING:
    from lineage.store.reader import Reader

app = typer.Typer(
    cls=Group,
    help="Ask where models come from, what became of them, and why.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _text(value: str | None) -> str | None:
    """Refuses what the shell may pass and no store can hold."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("expected UTF-8 text.") from None
    return value


RefArgument = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A served path, NAME@VERSION, NAME, artifact URI or id, or run name.",
        callback=_text,
    ),
]
_NAME = typer.Argument(
    metavar="NAME", help="A model's name, or its folder in serving.", callback=_text
)
NameArgument = Annotated[str, _NAME]
OptionalNameArgument = Annotated[str | None, _NAME]
OutputOption = Annotated[
    Path | None, typer.Option("--output", help="The pipeline's output folder.")
]
MetadataOption = Annotated[
    str | None,
    typer.Option("--metadata", help="The metadata store, instead of the output folder's."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON with a documented schema.")]


@contextmanager
def asking(output: Path | None, metadata: str | None, ref: str | None = None) -> Iterator[Reader]:
    """A reader of the store that a command is asked about.

    In this order: --metadata, --output, the served path or artifact that `ref` is, the
    environment's VISIONLINE_METADATA, the only output folder below visionline-runs/.

    Raises:
      StoreError: there is none, or it cannot be read.
    """
    from lineage.store.locate import locate
    from lineage.store.opening import open_reader

    reader = open_reader(locate(output, metadata, ref))
    try:
        yield reader
    finally:
        reader.close()


def answer_json(kind: str, value: Any) -> None:
    """Prints a dataclass as JSON that names its schema, see docs/lineage.schema.json."""
    from common.config.strict import dump
    from lineage.answers import format_name

    print_json({"format": format_name(kind), **dump(value)})


from pipeline.cli.lineage import (  # noqa: E402, F401 - they register their commands
    affected,
    diff,
    export,
    model,
    runs,
    storage,
    versions,
)
