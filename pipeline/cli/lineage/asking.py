"""The store that a command asks, and its answer as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from common.config.strict import dump
from common.errors import ConfigError, RunError
from lineage.questions.answers import format_name
from lineage.store.connection import Connection, open_reader
from lineage.store.locate import locate
from lineage.store.reader import Reader
from lineage.store.workspace import Workspace
from pipeline.terminal import print_json


@contextmanager
def asking(output: Path | None, metadata: str | None, ref: str | None = None) -> Iterator[Reader]:
    """Opens the store that a command is asked about.

    In this order: --metadata, --output, the served path or artifact that `ref` is, the
    environment's VISIONLINE_METADATA, the only output folder below visionline-runs/.

    Raises:
      StoreError: there is none, or it cannot be read.
    """
    with closing(open_reader(locate(output, metadata, ref))) as reader:
        yield reader


def answer_json(kind: str, value: Any) -> None:
    """Prints a dataclass as JSON that names its schema, see docs/lineage.schema.json."""
    print_json({"format": format_name(kind), **dump(value)})


def own_store(
    output: Path | None, metadata: str | None, command: str
) -> tuple[Workspace, Connection]:
    """Returns an output folder and the store of its runs.

    Another store, such as an older copy, does not know what is still needed.
    """
    connection = locate(output, metadata)
    if output is None and connection.path is None:
        raise ConfigError(f"{command}: name the output folder, too, with --output.")
    workspace = Workspace(output or connection.path.parent)  # type: ignore[union-attr]
    if not workspace.is_claimed:
        raise RunError(
            f"{workspace.root} is not a visionline output folder; {command} removes only what "
            "visionline's own pipelines made. Name the folder with --output."
        )
    own = workspace.connection
    same = str(connection) == str(own)
    if connection.path is not None and own.path is not None:
        same = os.path.realpath(connection.path) == os.path.realpath(own.path)
    if not same:
        raise ConfigError(
            f"{command}: the runs in {workspace.root} are recorded in {own}; another store "
            f"({connection}) does not know what they need. Leave --metadata out."
        )
    workspace.check_alone(own, [r for r in own.places.roots if r != own.places.root])
    return workspace, own
