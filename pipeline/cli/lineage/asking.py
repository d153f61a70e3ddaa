"""The store that a command asks, and its answer as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import TypeVar

from common.config.flags import expanded
from common.config.strict import dump
from common.errors import ConfigError, RunError
from lineage.answers import format_name
from lineage.store.connection import Connection
from lineage.store.locate import locate
from lineage.store.opening import open_reader
from lineage.store.reader import Reader
from lineage.store.workspace import Workspace
from pipeline.cli.options import JsonOption, MetadataOption, OutputOption
from pipeline.terminal import print_json

T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """The store that a command is asked about, and the form that the answer has."""

    output: Path | None
    metadata: str | None
    as_json: bool

    @contextmanager
    def open(self, ref: str | None = None) -> Iterator[Reader]:
        """Opens the store.

        In this order: --metadata, --output, the served path or artifact that `ref` is, the
        environment's VISIONLINE_METADATA, the only output folder below visionline-runs/.

        Raises:
          StoreError: there is none, or it cannot be read.
        """
        with closing(open_reader(locate(self.output, self.metadata, ref))) as reader:
            yield reader

    def answer(self, kind: str, value: T, show: Callable[[T], None]) -> None:
        """Prints a dataclass: as `show` does, or as JSON by docs/lineage.schema.json."""
        if self.as_json:
            print_json({"format": format_name(kind), **dump(value)})
        else:
            show(value)


asks = expanded(
    "store",
    [
        Parameter("output", Parameter.KEYWORD_ONLY, default=None, annotation=OutputOption),
        Parameter("metadata", Parameter.KEYWORD_ONLY, default=None, annotation=MetadataOption),
        Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
    ],
    lambda values: Store(**values),
)
"""Gives a command the options of a `Store`, where it has the parameter `store`."""


def own_store(store: Store, command: str) -> tuple[Workspace, Connection]:
    """Returns an output folder and the store of its runs.

    Another store, such as an older copy, does not know what is still needed.
    """
    connection = locate(store.output, store.metadata)
    if store.output is None and connection.path is None:
        raise ConfigError(f"{command}: name the output folder, too, with --output.")
    workspace = Workspace(store.output or connection.path.parent)  # type: ignore[union-attr]
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
