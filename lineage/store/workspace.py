"""The output folder of a pipeline: its layout, its owner, its lock.

visionline.json   whose it is, the store that its runs are recorded in, and where it has been
metadata.sqlite   ML Metadata, unless the config names another store
artifacts/        TFX's pipeline root
cache/            memory-mapped training data, remade when missing
checkpoints/      of trainings that have not ended, so that the same run goes on
runs/<run id>/    config.json, log.txt, summary.json, pictures; training/ while it trains
serving/          pushed models, unless the config names another folder
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from common.errors import NoDatabaseError, RunError
from common.files import read_json, write_json
from common.process import folder_lock
from common.record.kinds import RUN
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.places import Places, moved_along, root_of

LOG = "log.txt"
"""In the folder of a run: all that TFX, Beam and TensorFlow print."""
TRAINING = "training"
"""In the folder of a run: what a training writes, until it is the Trainer's output."""
CHECKPOINTS = "checkpoints"
_MARKER = "visionline.json"
_ROOTS, _SERVING = "roots", "serving"
"""In the marker, see `lineage.store.places`."""
_LEAST_FREE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @property
    def metadata(self) -> Path:
        return self.root / "metadata.sqlite"

    @property
    def default_store(self) -> Connection:
        return Connection(kind="sqlite", path=self.metadata.absolute())

    @property
    def connection(self) -> Connection:
        """The store that the runs in this folder are recorded in.

        Raises:
          RunError: the folder's marker cannot be read.
          StoreError: see `places`.
        """
        try:
            store = self._recorded(self._marker()) or self.default_store
            return replace(store, places=self.places)
        except OSError as e:
            raise RunError(f"Cannot read {self.root / _MARKER}: {e.strerror}.") from None

    @property
    def places(self) -> Places:
        """Where the files are of what its store names; looks, and writes nothing.

        Raises:
          RunError: the folder's marker cannot be read.
          StoreError: the marker is an older one, and the store cannot be read.
        """
        try:
            marker = self._marker()
        except OSError as e:
            raise RunError(f"Cannot read {self.root / _MARKER}: {e.strerror}.") from None
        return Places(
            root=str(self.root.absolute()),
            roots=self._roots(marker),
            serving=dict(marker.get(_SERVING) or {}),
        )

    def _roots(self, marker: dict[str, Any]) -> tuple[str, ...]:
        """Returns where the folder has been; of older markers, where its artifacts say it was."""
        if isinstance(roots := marker.get(_ROOTS), list):
            return tuple(map(str, roots))
        if not marker:
            return ()
        return _recorded_roots(self._recorded(marker) or self.default_store, self.run_ids())

    @property
    def is_claimed(self) -> bool:
        return (self.root / _MARKER).is_file()

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def checkpoints(self) -> Path:
        return self.root / CHECKPOINTS

    def run_dir(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def run_ids(self) -> set[str]:
        """Returns the ids of the runs that were started in this folder."""
        try:
            return {p.name for p in (self.root / "runs").iterdir()}
        except FileNotFoundError:
            return set()

    def claim(self, pipeline: str, store: Connection | None = None) -> str | None:
        """Makes the folder this pipeline's, or checks that; returns where it was, if elsewhere.

        Args:
          store: that its runs are recorded in; by default the folder's own.

        Raises:
          RunError: it is another pipeline's, its runs are recorded in another store, it
            holds something else, cannot be written, or the disk is full.
        """
        store = store or self.default_store
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _check_room(self.root)
            marker = self._marker()
            if marker:
                self._check_owner(marker, pipeline, store)
            elif strangers := sorted({p.name for p in self.root.iterdir()} - {folder_lock.NAME}):
                raise RunError(
                    f"{self.root} is not empty and not a visionline output folder "
                    f"(it holds {', '.join(strangers[:3])}). Choose another with --output."
                )
            former = self._roots(marker)
            roots = self._claimed(former, store)
            wanted: dict[str, Any] = {"pipeline": pipeline, _ROOTS: roots}
            if not store.is_same_store(self.default_store):
                wanted["metadata"] = str(store)
            if marker != wanted:
                write_json(self.root / _MARKER, {**marker, **wanted})
            return former[0] if former and not _is_same(Path(former[0]), self.root) else None
        except OSError as e:
            raise folder_lock.unwritable(self.root, e) from None

    def _check_owner(self, marker: dict[str, Any], pipeline: str, store: Connection) -> None:
        owner = marker.get("pipeline")
        if owner != pipeline:
            raise RunError(
                f"{self.root} belongs to the pipeline {owner!r}, not to {pipeline!r}. "
                "Choose another folder with --output, or run it as "
                f"pipeline = {owner!r}."
            )
        recorded = self._recorded(marker)
        if not (recorded or self.default_store).is_same_store(store):
            again = f"with --metadata {recorded}" if recorded else "without --metadata"
            raise RunError(
                f"The runs in {self.root} are recorded in {recorded or self.metadata}, not in "
                f"{store}: cached steps and versions could not be found. Run it {again}, or "
                "choose another folder with --output."
            )

    def _claimed(self, roots: Collection[str], store: Connection) -> list[str]:
        """Says where the folder has been, now that something is going to be made in it here."""
        here = str(self.root.absolute())
        former = [r for r in roots if r != here]
        if former:
            self.check_alone(store, former)
        return [here, *former]

    def check_alone(self, store: Connection, former: Collection[str]) -> None:
        """Checks that what its store has of former places is this folder's, and no other's.

        Raises:
          RunError: at one of them lies an output folder with the same store.
        """
        for place in map(Path, former):
            other = Workspace(place)
            if store.is_same_store(self.default_store) or not other.is_claimed:
                continue  # each has a store of its own
            of_other = other._recorded(other._marker()) or other.default_store
            if _is_same(place, self.root) or not of_other.is_same_store(store):
                continue
            raise RunError(
                f"{self.root} was at {place} when it was used last, an output folder is there "
                f"now, and both are recorded in {store}. If {self.root} is a copy: `visionline "
                f"relocate {self.root} --copy` makes it a folder of its own, whose steps are "
                f"done anew; what is recorded stays with {place}. If it was moved, and another "
                "was made in its place: move that elsewhere first."
            )

    def relocate(
        self, serving: Mapping[str, str] | None = None, *, copy: bool = False
    ) -> tuple[Places, Places]:
        """Writes down where the folder is, as the next run would; returns former and new places.

        Args:
          serving: where serving folders are now, by where they were.
          copy: what its store has of former places is another folder's.

        Raises:
          RunError: it is no output folder, a run uses it, or see `check_alone`.
        """
        if not self.is_claimed:
            raise RunError(f"{self.root} is not a visionline output folder: no {_MARKER} in it.")
        with self.lock():
            before, marker = self.places, self._marker()
            here = [str(self.root.absolute())]
            roots = here if copy else self._claimed(before.roots, self.connection)
            moved = {**before.serving, **(serving or {})}
            added: dict[str, Any] = {_SERVING: moved} if moved else {}
            try:
                write_json(self.root / _MARKER, {**marker, _ROOTS: roots, **added})
            except OSError as e:
                raise folder_lock.unwritable(self.root, e) from None
            return before, self.places

    def _recorded(self, marker: dict[str, Any]) -> Connection | None:
        """Returns the store that a marker names; a file, if it was moved along, where it is."""
        if (store := marker.get("metadata")) is None:
            return None
        connection = Connection.parse(str(store))
        if connection.path is not None:
            here = str(self.root.absolute())
            for old in marker.get(_ROOTS) or ():
                beside = moved_along(str(connection.path), str(old), here)
                if beside is not None and os.path.isfile(beside):
                    return Connection(kind="sqlite", path=Path(beside))
        return connection

    def _marker(self) -> dict[str, Any]:
        """Reads the marker; nothing where there is none."""
        path = self.root / _MARKER
        try:
            marker = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError:
            marker = None
        if not isinstance(marker, dict) or not marker:
            raise RunError(f"{path} is damaged; it should be JSON.")
        return marker

    def lock(self) -> AbstractContextManager[None]:
        """Holds the folder for one run; see `common.process.folder_lock.hold`."""
        return folder_lock.hold(self.root)


def _is_same(place: Path, root: Path) -> bool:
    """Says whether two paths lead to one folder, such as through a link."""
    return place == root.absolute() or (place.exists() and place.samefile(root))


def _recorded_roots(connection: Connection, run_ids: Collection[str]) -> tuple[str, ...]:
    """Returns where runs made what they did not take from the cache, the newest first."""
    if not run_ids:
        return ()
    try:
        reader = open_reader(connection)
    except NoDatabaseError:
        return ()
    with closing(reader):
        runs = reader.contexts_named(RUN, run_ids)
        inside = reader.executions_in([r.id for r in runs.values()])
        executions = reader.executions({e for ids in inside.values() for e in ids})
        worked = {i for i, e in executions.items() if e.state != "CACHED"}
        outputs = {e.artifact_id for e in reader.events(worked) if e.kind == "output"}
        newest = sorted(reader.artifacts(outputs).items(), reverse=True)
        roots = [root_of(artifact.uri) for _, artifact in newest]
    return tuple(dict.fromkeys(root for root in roots if root is not None))


def new_run_id() -> str:
    """Makes a name in TFX's own form: local time to the microsecond."""
    return datetime.now().strftime("%Y%m%d-%H%M%S.%f")


def _check_room(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < _LEAST_FREE:
        raise RunError(
            f"No room on the disk of {path}: {free / 2**20:.0f} MB are free, and a run needs "
            f"at least {_LEAST_FREE / 2**20:.0f} MB. Free some, then run again."
        )
