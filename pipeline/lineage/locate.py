"""Finds the store that a question is about."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pipeline.lineage.connection import Connection
from pipeline.lineage.store import StoreError
from pipeline.workspace import Workspace
from trainers.artifact import MANIFEST, PushManifest
from trainers.errors import DataError
from trainers.versions import list_versions

VARIABLE = "VISIONLINE_METADATA"


def locate(output: Path | None, metadata: str | None, ref: str | None = None) -> Connection:
    """See `pipeline.commands.lineage.asking`.

    Raises:
      StoreError: nothing says which store.
    """
    if metadata:
        return Connection.parse(metadata)
    if output is not None:
        return Workspace(output).connection
    with contextlib.suppress(OSError):  # such as a name too long for a path
        if ref is not None and (workspace := _workspace_of(ref)) is not None:
            return workspace.connection
    if VARIABLE in os.environ:
        return Connection.parse(os.environ[VARIABLE])
    found = sorted(p for p in Path.cwd().glob("visionline-runs/*") if p.is_dir())
    if len(found) == 1:
        return Workspace(found[0]).connection
    listed = ", ".join(str(p.relative_to(Path.cwd())) for p in found) or "none"
    raise StoreError(
        f"Which metadata store? Found these output folders: {listed}. Name one with "
        f"--output FOLDER, or a store with --metadata PATH-OR-URL or {VARIABLE}."
    )


def _workspace_of(ref: str) -> Workspace | None:
    """The output folder that a served version, or an artifact's path, belongs to."""
    path = Path(ref)
    if not path.exists():
        return None
    if (versions := list_versions(path)) and not (path / MANIFEST).exists():
        path = path / str(versions[-1])
    places = [path.absolute()]
    if (path / MANIFEST).exists():
        with contextlib.suppress(DataError):
            places.append(Path(PushManifest.read(path).model_uri))
    for place in places:
        for folder in (place, *place.parents):
            if Workspace(folder).is_claimed:
                return Workspace(folder)
    return None
