"""Checkpoints: all that a training needs to go on exactly where it was.

Each is a folder, `step-000123`, or `finished` for a training that only needs to be exported:

    position.json   how far it has come, see `trainers.loop.Position`
    state.npz       what the next step depends on, see `Learner.state`; `finished` has none
    best.npz        the weights of the best epoch so far, once there is one
    manifest.json   whose it is, and the sha256 of each file; written last

A folder is written under another name, synced and renamed, so that it is whole or not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.files import digest, read_json, sha256_file, sync_directory
from trainers.config import CheckpointConfig
from trainers.contract import Arrays
from trainers.history import FINISHED, checkpoints_in

_POSITION, _STATE, _BEST, _MANIFEST = "position.json", "state.npz", "best.npz", "manifest.json"
_FORMAT = 1
_SHARE = 0.02
"""Of a training's time, at most, for checkpoints by minutes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read of one."""

    path: Path
    position: dict[str, Any]
    state: Arrays
    best: Arrays | None


class Unusable(Exception):
    """The folder holds no checkpoint that can be gone on from; says why."""


class Checkpoints:
    """The checkpoints of one training, in a folder of their own.

    Args:
      identity: what must be equal for a training to go on exactly: JSON values by name.
      note: told what people should know.
    """

    def __init__(
        self,
        folder: Path,
        config: CheckpointConfig,
        identity: Mapping[str, Any],
        note: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._config = config
        self._identity = {name: digest(value) for name, value in identity.items()}
        self._note = note
        self._kept: list[Path] = []
        """The newest last; what else is in the folder goes when the next one is written."""
        self._best: tuple[int, Path] | None = None
        """Epoch and file of the best weights in the newest checkpoint."""
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._copied = 0.0
        self._next = time.monotonic() + 60 * config.every_minutes

    def newest(self) -> Checkpoint | None:
        """Reads the newest that is whole and of this training."""
        for path in checkpoints_in(self.folder):
            try:
                checkpoint = _read(path, self._identity)
            except Unusable as e:
                self._note(f"The checkpoint {path} is not used: {e}")
                continue
            self._kept = [path]
            if checkpoint.best is not None:
                self._best = (checkpoint.position["best"], path / _BEST)
            return checkpoint
        return None

    def is_due(self, step: int) -> bool:
        """Says whether to save after a step, counted from 1 over all epochs."""
        if self._config.every_steps:
            return step % self._config.every_steps == 0
        if self._writing is not None and self._writing.done():
            self.wait()
        is_time = time.monotonic() >= self._next and self._config.every_minutes > 0
        return is_time and self._writing is None

    def save(
        self,
        step: int,
        position: Mapping[str, Any],
        state: Callable[[], Arrays],
        best: Arrays | None,
    ) -> None:
        """Copies the state, and writes it while the training goes on.

        Args:
          state: of this moment; nobody else changes the arrays it returns.
          best: the weights of the epoch `position["best"]`.
        """
        self.wait()
        began = time.monotonic()
        arrays = state()
        self._copied = time.monotonic() - began
        text = json.dumps(position)
        self._writing = self._pool.submit(self._write, f"step-{step:06d}", text, arrays, best)

    def finish(self, position: Mapping[str, Any], weights: Arrays) -> None:
        """Writes down that the training has ended, with the weights that are exported."""
        self.wait()
        self._write(FINISHED, json.dumps(position), None, weights)

    def wait(self) -> None:
        """Waits until what is being written is there, and chooses the time of the next."""
        if self._writing is None:
            return
        cost = self._copied + self._writing.result()
        self._writing = None
        self._next = time.monotonic() + max(60 * self._config.every_minutes, cost / _SHARE)

    def _write(self, name: str, position: str, state: Arrays | None, best: Arrays | None) -> float:
        """Writes one; what fails is told, and the training goes on. Returns the seconds."""
        began = time.monotonic()
        try:
            self._write_folder(name, position, state, best)
        except OSError as e:
            kept = f"{self._kept[-1]} stays the last one" if self._kept else "there is none yet"
            self._note(f"A checkpoint could not be written to {self.folder}, {kept}: {e}")
        return time.monotonic() - began

    def _write_folder(
        self, name: str, position: str, state: Arrays | None, best: Arrays | None
    ) -> None:
        if any(map(_has_nan, (state or {}).values())):
            return  # nothing good to go on from; the loss will tell
        target = self.folder / name
        unfinished = self.folder / f".{name}.tmp"
        epoch = json.loads(position)["best"]
        for stale in (unfinished, *([] if target in self._kept else [target])):
            shutil.rmtree(stale, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            (unfinished / _POSITION).write_text(position, "utf-8")
            if state is not None:
                np.savez(unfinished / _STATE, allow_pickle=False, **state)
            if best is not None and not _linked(self._best, epoch, unfinished / _BEST):
                np.savez(unfinished / _BEST, allow_pickle=False, **best)
            manifest = {
                "format": _FORMAT,
                "identity": self._identity,
                "sha256": {p.name: sha256_file(p) for p in _listed(unfinished)},
            }
            (unfinished / _MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
            for path in (*_listed(unfinished), unfinished):
                sync_directory(path)
            unfinished.rename(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_directory(self.folder)
        if best is not None:
            self._best = (epoch, target / _BEST)
        self._kept = [*self._kept, target][-self._config.keep :]
        for path in _listed(self.folder):
            if path not in self._kept:
                shutil.rmtree(path, ignore_errors=True)


def _linked(best: tuple[int, Path] | None, epoch: int, path: Path) -> bool:
    """Gives weights that are there already, if they are this epoch's, a second name."""
    with contextlib.suppress(OSError):  # gone, or the file system knows no links
        if best is not None and best[0] == epoch:
            os.link(best[1], path)
    return path.exists()


def _read(path: Path, identity: Mapping[str, str]) -> Checkpoint:
    try:
        manifest = read_json(path / _MANIFEST)
        sums, theirs = manifest["sha256"], manifest["identity"]
        if manifest["format"] != _FORMAT:
            raise Unusable("another version of visionline wrote it.")
        torn = [name for name in sums if sha256_file(path / name) != sums[name]]
        if torn:
            raise Unusable(f"{', '.join(torn)} is not as it was written.")
        differing = [k for k in sorted({*identity, *theirs}) if identity.get(k) != theirs.get(k)]
        if differing:
            raise Unusable(f"it is of another training, whose {', '.join(differing)} differ.")
        return Checkpoint(
            path,
            read_json(path / _POSITION),
            _arrays(path / _STATE) if _STATE in sums else {},
            _arrays(path / _BEST) if _BEST in sums else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise Unusable(f"it is not whole ({type(e).__name__}).") from None


def _arrays(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return dict(arrays)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _has_nan(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())
