"""Finds the store that a question is about."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from common.errors import DataError, StoreError
from lineage.store.connection import Connection
from lineage.store.places import root_of
from lineage.store.workspace import Workspace
from modelstore.artifact import MANIFEST, PushManifest
from modelstore.versions import list_versions

VARIABLE = "VISIONLINE_METADATA"


def locate(output: Path | None, metadata: str | None, ref: str | None = None) -> Connection:
    """Finds the store as `pipeline.cli.lineage.asking.asking` says.

    Raises:
      StoreError: nothing says which store.
    """
    if metadata:
        return _with_places(Connection.parse(metadata), output)
    if output is not None:
        return Workspace(output).connection
    with contextlib.suppress(OSError):  # such as a name too long for a path
        if ref is not None and (workspace := _workspace_of(ref)) is not None:
            return workspace.connection
    if VARIABLE in os.environ:
        return _with_places(Connection.parse(os.environ[VARIABLE]), None)
    folders = sorted(p for p in Path.cwd().glob("visionline-runs/*") if p.is_dir())
    if len(folders) == 1:
        return Workspace(folders[0]).connection
    listed = ", ".join(str(p.relative_to(Path.cwd())) for p in folders) or "none"
    raise StoreError(
        f"Which metadata store? Found these output folders: {listed}. Name one with "
        f"--output FOLDER, or a store with --metadata PATH-OR-URL or {VARIABLE}."
    )


def _with_places(connection: Connection, output: Path | None) -> Connection:
    """Gives a store that was named by itself its places; it may be an output folder's own."""
    if output is not None:
        return replace(connection, places=Workspace(output).places)
    if connection.path is not None:
        workspace = Workspace(connection.path.parent)
        if workspace.is_claimed and connection.is_same_store(workspace.default_store):
            return replace(connection, places=workspace.places)
    return connection


def _workspace_of(ref: str) -> Workspace | None:
    """Finds the output folder that a served version, or an artifact's path, belongs to."""
    path = Path(ref)
    if not path.exists():
        return None
    if (versions := list_versions(path)) and not (path / MANIFEST).exists():
        path = path / str(versions[-1])
    if (workspace := _claimed_above(path.absolute())) is not None:
        return workspace
    if not (path / MANIFEST).exists():
        return None
    with contextlib.suppress(DataError):
        model = PushManifest.read(path).model_uri
        return _moved_along(path.absolute(), model) or _claimed_above(Path(model))
    return None


def _claimed_above(place: Path) -> Workspace | None:
    workspaces = map(Workspace, (place, *place.parents))
    return next((w for w in workspaces if w.is_claimed), None)


def _moved_along(version: Path, model_uri: str) -> Workspace | None:
    """Finds the output folder that was moved, or copied, together with the serving folder.

    It lies as its former place did from a folder above both.
    """
    root = root_of(model_uri)
    parts = Path(root).parts[1:] if root is not None else ()
    for above in version.parents:
        for start in range(len(parts)):
            workspace = Workspace(above.joinpath(*parts[start:]))
            if workspace.is_claimed and root in workspace.places.roots:
                return workspace
    return None
