"""`visionline schema`: the schema of a pipeline's last run, shown or frozen."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common.errors import DataError
from common.record.kinds import SCHEMA
from components import schema as schemas
from lineage.store.opening import open_reader
from lineage.store.workspace import Workspace


def latest_schema(output: Path) -> Path:
    """Returns the newest Schema artifact in a pipeline's output folder.

    Raises:
      StoreError: no pipeline has run there.
      DataError: none got as far.
    """
    with contextlib.closing(open_reader(Workspace(output).connection)) as reader:
        artifacts = [
            a
            for a in reader.artifacts_by_type(SCHEMA)
            if a.state == "LIVE" and Path(a.uri, schemas.FILE_NAME).exists()
        ]
    if not artifacts:
        raise DataError(f"No run in {output} has got as far as SchemaGen yet.")
    return Path(artifacts[-1].uri)


def freeze_schema(uri: Path, destination: Path) -> Path:
    """Writes a schema to a file that `--schema` takes."""
    return Path(schemas.freeze(str(uri), str(destination)))


def show_schema(uri: Path, console: Console) -> None:
    """Prints the classes with their shares, and the other features."""
    schema = schemas.read(str(uri))
    counts = schemas.class_counts(schema)
    total = sum(counts.values()) or 1
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("class", "train images", "share"):
        table.add_column(column)
    for name in schemas.classes(schema):
        count = counts.get(name, 0)
        table.add_row(name, f"{count:,}", f"{count / total:.1%}")
    console.print(table)
    console.print(f"\nSchema file: {uri / schemas.FILE_NAME}", soft_wrap=True, highlight=False)
