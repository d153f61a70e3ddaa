"""The output folder of a pipeline: its layout, its owner, its lock.

visionline.json   whose it is, and the store that its runs are recorded in
metadata.sqlite   ML Metadata, unless the config names another store
artifacts/        TFX's pipeline root
cache/            memory-mapped training data, remade when missing
runs/<run id>/    config.json, log.txt, summary.json, pictures; training/ while it trains
serving/          pushed models, unless the config names another folder
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline import folder_lock
from pipeline.lineage.connection import Connection
from trainers.errors import RunError
from trainers.files import read_json, write_json

LOG = "log.txt"
"""In the folder of a run: all that TFX, Beam and TensorFlow print."""
TRAINING = "training"
"""In the folder of a run: what a training writes, until it is the Trainer's output."""
_MARKER = "visionline.json"
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
        """
        try:
            return _recorded(self._marker()) or self.default_store
        except OSError as e:
            raise RunError(f"Cannot read {self.root / _MARKER}: {e.strerror}.") from None

    @property
    def is_claimed(self) -> bool:
        return (self.root / _MARKER).is_file()

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def run_dir(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def run_ids(self) -> set[str]:
        """Of the runs that were started in this folder."""
        try:
            return {p.name for p in (self.root / "runs").iterdir()}
        except FileNotFoundError:
            return set()

    def claim(self, pipeline: str, store: Connection | None = None) -> None:
        """Makes the folder this pipeline's, or checks that it is.

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
            wanted = {"pipeline": pipeline}
            if not store.is_same_store(self.default_store):
                wanted["metadata"] = str(store)
            if marker != wanted:
                write_json(self.root / _MARKER, {**marker, **wanted})
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
        recorded = _recorded(marker)
        if not (recorded or self.default_store).is_same_store(store):
            again = f"with --metadata {recorded}" if recorded else "without --metadata"
            raise RunError(
                f"The runs in {self.root} are recorded in {recorded or self.metadata}, not in "
                f"{store}: cached steps and versions could not be found. Run it {again}, or "
                "choose another folder with --output."
            )

    def _marker(self) -> dict[str, Any]:
        """What the marker says; nothing where there is none."""
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
        """Holds the folder for one run; see `pipeline.folder_lock.hold`."""
        return folder_lock.hold(self.root)


def _recorded(marker: dict[str, Any]) -> Connection | None:
    store = marker.get("metadata")
    return None if store is None else Connection.parse(str(store))


def new_run_id() -> str:
    """TFX's own form: local time to the microsecond."""
    return datetime.now().strftime("%Y%m%d-%H%M%S.%f")


def _check_room(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < _LEAST_FREE:
        raise RunError(
            f"No room on the disk of {path}: {free / 2**20:.0f} MB are free, and a run needs "
            f"at least {_LEAST_FREE / 2**20:.0f} MB. Free some, then run again."
        )
