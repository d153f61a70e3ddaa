"""Which pushes there were, and which of them are in serving now.

Read from a few small properties of each push, so that a store with 50,000 of them is
still quick to ask; the rest is read (`versions.records`) of those that are asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import NotFoundError, nearest
from common.record.artifacts import Pushed
from common.record.kinds import PUSHED_MODEL
from common.record.record import name_of, names_of
from lineage.graph import facts
from lineage.store.reader import Reader
from lineage.store.records import Value
from modelstore.versions import parse_version

_PLACE = names_of(Pushed.pushed_destination, Pushed.model_id)


@dataclass(frozen=True, slots=True)
class PushRef:
    """One push, as little as names it."""

    artifact_id: int
    """Of the PushedModel."""
    destination: str
    """`<serving>/<name>/<version>`; TFX's own Pusher counts versions in seconds."""
    model_id: int | None

    @property
    def folder(self) -> str:
        """The model's folder in serving, which holds its versions."""
        return self.destination.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.folder.rpartition("/")[2]

    @property
    def version(self) -> int | str:
        text = self.destination.rpartition("/")[2]
        return int(text) if text.isdecimal() else text

    @property
    def order(self) -> tuple[int, int]:
        """Increases with version, then with time."""
        version = self.version
        return version if isinstance(version, int) else 0, self.artifact_id


def pushes(reader: Reader, name: str | None = None) -> list[PushRef]:
    """Every successful push, in the order of their artifacts' ids.

    Args:
      name: only this model; a name, or the path of its folder in serving.
    """
    if name is None:
        return _refs(reader)
    if "/" in name:
        folders = spellings(name)
        return [r for r in _refs(reader) if r.folder in folders]
    # TFX's own Pusher does not record a name.
    return _refs(reader, {name_of(Pushed.model_name): name}) or [
        r for r in _refs(reader) if r.name == name
    ]


def spellings(path: str) -> set[str]:
    """What a path, or the address of a bucket, may be recorded as."""
    return {path.rstrip("/"), str(Path(path).absolute()), str(Path(path).resolve())}


def pushes_of_version(reader: Reader, name: str, version: str) -> list[PushRef]:
    """As `pushes`, of one version; in a large store quicker than all that have the name.

    Raises:
      NotFoundError: nothing was pushed under the name.
    """
    where: dict[str, Value] = {name_of(Pushed.model_name): name}
    if (parsed := parse_version(version)) is not None:
        where[name_of(Pushed.pushed_version)] = parsed
    refs = _refs(reader, where) or known_pushes(reader, name)
    return [r for r in refs if str(r.version) == version]


def _refs(reader: Reader, where: Mapping[str, Value] | None = None) -> list[PushRef]:
    places = reader.artifact_values(PUSHED_MODEL, _PLACE, where)
    refs = []
    for id_, values in sorted(places.items()):
        pushed = Pushed.read(values)
        if pushed.pushed_destination is not None:  # what was not pushed has none
            refs.append(PushRef(id_, pushed.pushed_destination.rstrip("/"), pushed.model_id))
    return refs


def known_pushes(reader: Reader, name: str) -> list[PushRef]:
    """See `pushes`.

    Raises:
      NotFoundError: there are none.
    """
    refs = pushes(reader, name)
    if not refs:
        names = names_known(reader, name) or " Nothing was pushed yet."
        raise NotFoundError(f"No model was pushed under the name {name!r}.{names}")
    return refs


def names_known(reader: Reader, name: str) -> str:
    """The end of a sentence that names what was pushed, for what was not found."""
    names = sorted({p.name for p in pushes(reader)})
    return nearest(name, names) or (f" Pushed: {', '.join(names[:10])} …" if names else "")


def latest(refs: Sequence[PushRef]) -> PushRef:
    """The highest version in the folder that was pushed to last."""
    folder = max(refs, key=lambda r: r.artifact_id).folder
    return max((r for r in refs if r.folder == folder), key=lambda r: r.order)


def versions_of(refs: Iterable[PushRef]) -> list[PushRef]:
    """The first push of each version: a model that is served already may be pushed again."""
    versions: dict[tuple[str, int | None], PushRef] = {}
    for ref in refs:
        versions.setdefault((ref.destination, ref.model_id), ref)
    return list(versions.values())


def serving_states(refs: Sequence[PushRef]) -> dict[int, facts.ServingState | None]:
    """Whether each push is in its serving folder now, by artifact id.

    Each folder is looked at once.  Where a version was pushed twice, with two models,
    only the second can be there.
    """
    holder = {r.destination: r.model_id for r in sorted(refs, key=lambda r: r.artifact_id)}
    states = facts.serving_states(holder)
    of_refs: dict[int, facts.ServingState | None] = {}
    for ref in refs:
        state = states[ref.destination]
        replaced = state is not None and holder[ref.destination] != ref.model_id
        of_refs[ref.artifact_id] = "removed" if replaced else state
    return of_refs
