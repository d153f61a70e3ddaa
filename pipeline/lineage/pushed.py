"""Which pushes there were, and which of them are in serving now.

Read from a few small properties of each push, so that a store with 50,000 of them is
still quick to ask; the rest is read (`versions.records`) of those that are asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.lineage import facts
from pipeline.lineage.store import NotFoundError, Reader
from trainers.errors import nearest
from trainers.versions import list_versions

PUSHED_MODEL = "PushedModel"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRef:
    """One push, as little as names it."""

    artifact_id: int
    """Of the PushedModel."""
    name: str
    """As recorded; else that of the folder, which TFX's own Pusher leaves it to."""
    version: int | str | None
    destination: str
    model_id: int | None

    @property
    def folder(self) -> str:
        """The model's folder in serving, which holds its versions."""
        return self.destination.rpartition("/")[0]

    @property
    def order(self) -> tuple[int, int]:
        text = str(self.version)
        return int(text) if text.isdecimal() else 0, self.artifact_id


def pushes(reader: Reader, name: str | None = None) -> list[PushRef]:
    """Every successful push, in the order of folder, version and time.

    Args:
      name: only this model; a name, or the path of its folder in serving.
    """
    keys = ("pushed", "model_name", "pushed_version", "pushed_destination", "model_id")
    folder = str(Path(name).absolute()) if name is not None and "/" in name else None
    found = []
    for id_, values in reader.artifact_values(PUSHED_MODEL, keys).items():
        destination = values.get("pushed_destination")
        if not values.get("pushed") or not isinstance(destination, str):
            continue
        version, model_id = values.get("pushed_version"), values.get("model_id")
        parts = destination.rstrip("/").rsplit("/", 2)
        ref = PushRef(
            artifact_id=id_,
            name=str(values.get("model_name") or (parts[-2] if len(parts) > 1 else "")),
            version=version if isinstance(version, int | str) else parts[-1],
            destination=destination.rstrip("/"),
            model_id=model_id if isinstance(model_id, int) else None,
        )
        if name is None or name == ref.name or folder == ref.folder:
            found.append(ref)
    return sorted(found, key=lambda r: (r.name, r.folder, *r.order))


def known_pushes(reader: Reader, name: str) -> list[PushRef]:
    """See `pushes`.

    Raises:
      NotFoundError: there are none.
    """
    found = pushes(reader, name)
    if not found:
        names = {r.name for r in pushes(reader)}
        known = nearest(name, names) if names else " Nothing was pushed yet."
        raise NotFoundError(f"No model was pushed under the name {name!r}.{known}")
    return found


def versions_of(refs: Iterable[PushRef]) -> list[PushRef]:
    """The first push of each version: a model that is served already may be pushed again."""
    found: dict[tuple[str, int | None], PushRef] = {}
    for ref in refs:
        found.setdefault((ref.destination, ref.model_id), ref)
    return list(found.values())


def serving_states(refs: Collection[PushRef]) -> dict[int, facts.ServingState | None]:
    """Whether each push is in its serving folder now, by artifact id.

    Each folder is looked at once.  Where a version was pushed twice, with two models,
    only the second can be there.
    """
    holder = {r.destination: r.model_id for r in sorted(refs, key=lambda r: r.artifact_id)}
    folders = {r.folder for r in refs if "://" not in r.folder}
    there = {f: [str(v) for v in list_versions(Path(f))] for f in folders}
    states: dict[int, facts.ServingState | None] = {}
    for ref in refs:
        state: facts.ServingState | None = None
        if ref.folder in there:
            state = facts.state_among(ref.destination.rpartition("/")[2], there[ref.folder])
            state = state if holder[ref.destination] == ref.model_id else "removed"
        states[ref.artifact_id] = state
    return states
