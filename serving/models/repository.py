"""The models under a serving folder, and which of their versions answer.

A new version is loaded beside the old one, and takes over when it is warm; the old
one finishes what it has and goes.  One that cannot be served never replaces one that
can.

The folder is looked at by one thread, which only looks; loads are done by a few
others, and each version that goes has one that waits for its requests.  So none of
them holds up another model.  `_lock` is held for decisions alone.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from common.errors import DataError, nearest
from modelstore.in_use import hold
from modelstore.labels import Labels, read_labels
from modelstore.permissions import open_to_all
from modelstore.versions import LARGEST, list_versions, look_alikes
from serving.config import ModelConfig, ServeConfig
from serving.errors import LoadError, UnavailableError, UnknownModelError
from serving.models.batching import Observer
from serving.models.loaded import LoadedVersion
from serving.models.readiness import Readiness, judge
from serving.models.served import Served, Slot, State, files_of
from serving.models.shares import Decoding

__all__ = ["Event", "Load", "Repository", "Served", "Slot", "State"]

Event = Callable[[str, str, int, str], None]
"""Told what happens: kind, model, version, detail.  Kinds: "loaded", "failed",
"unloaded", "writable" after "loaded" when everybody may write to what is served, and
"folder" and "labels" when one of them cannot be read any more."""

LOADERS = 2
"""Versions that are loaded at a time: each takes the CPUs for its warm-up."""


class Load(Protocol):
    """Makes a version that answers, or raises; `LoadedVersion` does."""

    def __call__(
        self, directory: Path, config: ModelConfig, threads: int, observer: Observer
    ) -> LoadedVersion: ...


class Repository:
    """Watches a serving folder.

    Args:
      observers: makes the observer of a version, by name and version.
      event: told about loads and unloads, from several threads.
      load: loads one version; called from several threads.  By default a `LoadedVersion`.
    """

    def __init__(
        self,
        config: ServeConfig,
        threads: int,
        observers: Callable[[str, int], Observer] = lambda name, version: Observer(),
        event: Event = lambda kind, name, version, detail: None,
        load: Load | None = None,
    ) -> None:
        self._config = config
        self._threads = threads
        self._observers = observers
        self._event = event
        self._loads = load or partial(
            LoadedVersion,
            max_pixels=config.limits.pixels,
            decoding=Decoding(config.limits, threads),
        )
        self._folder = Path(config.serving)
        self._models: dict[str, Served] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        """A slot's state, or its last request ended."""
        self._looking = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Served, Slot]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="repository", daemon=True)
        self._random = random.Random()
        self._trouble = ""
        self._was_ready = False
        self.scanned = False
        """Whether the folder was looked at once."""
        for number in range(LOADERS):
            threading.Thread(target=self._loader, name=f"loader-{number}", daemon=True).start()

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Refuses requests from now on, and ends the wait of `load` and `unload`."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def close(self, seconds: float | None = None) -> None:
        """Lets requests finish, within `drain_seconds` or so many; then all is unloaded.

        A load that is under way is not waited for.
        """
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()
        with self._changed:
            for model in self._models.values():
                model.closing = True
                self._settle(model)
            self._changed.wait_for(
                lambda: all(
                    s.state in ("LOADING", "END") for m in self._models.values() for s in _slots(m)
                ),
                self._config.drain_seconds if seconds is None else seconds,
            )
        for _ in range(LOADERS):
            self._queue.put((Served(""), Slot(0)))  # wakes one up, to find it is over

    def refresh(self) -> None:
        """Looks at the folder once, and waits for the loads that asks for."""
        self._look()
        with self._changed:
            self._changed.wait_for(
                lambda: self._stop.is_set() or all(m.settled() for m in self._models.values())
            )

    def load(self, name: str) -> None:
        """Loads a model that was unloaded by request, or tries again what could not be.

        Raises:
          UnknownModelError: it is not in the folder.
          LoadError: a version that is wanted cannot be served; those that can be, are.
        """
        with self._looking:
            if name not in self._names():
                raise self._unknown(name)
            with self._lock:
                model = self._models.setdefault(name, Served(name))
                model.kept_out.clear()
                for version in [v for v, s in model.slots.items() if s.state == "END"]:
                    del model.slots[version]
            self._look_at(model)
        with self._changed:
            self._changed.wait_for(lambda: self._stop.is_set() or model.settled())
            slots = [model.slots.get(v) for v in sorted(model.wanted())]
            errors = [f"version {s.version}: {s.error}" for s in slots if s and s.error]
            good = model.available()
        if errors or not good:
            going_on = f" Version {good[-1]} answers." if good else ""
            why = "; ".join(errors) or model.trouble or "no version to load."
            raise LoadError(f"{name}: {why}{going_on}")

    def unload(self, name: str, by: str = "someone") -> None:
        """Unloads all versions of a model, and waits for their requests.

        They stay unloaded until `load`; a version that is pushed from now on is loaded.

        Args:
          by: who asks for it, for those who wonder later.

        Raises:
          UnknownModelError: there is no such model.
        """
        model = self._known(name)
        try:
            there = list_versions(self._folder / name)  # maybe more than at the last look
        except OSError:
            there = []
        with self._changed:
            going = [s for s in _slots(model) if s.state in ("AVAILABLE", "UNLOADING")]
            model.kept_out |= {*there, *model.on_disk, *model.slots}
            model.kept_out_by = f"unloaded by request of {by}"
            self._settle(model)
            self._changed.wait_for(
                lambda: self._stop.is_set() or all(s.state == "END" for s in going),
                self._config.drain_seconds,
            )

    def __contains__(self, name: str) -> bool:
        """Whether a model was seen in the folder."""
        model = self._models.get(name)
        return model is not None and _seen(model)

    def models(self) -> dict[str, dict[int, Slot]]:
        """Every version that was seen, by name; a snapshot."""
        with self._lock:
            return {
                n: dict(sorted(m.slots.items()))
                for n, m in sorted(self._models.items())
                if _seen(m)
            }

    def slots(self, name: str, version: int | None = None, label: str | None = None) -> list[Slot]:
        """The versions of a model, or the one that is named.

        Raises:
          UnknownModelError: there is none.
        """
        model = self._known(name)
        with self._lock:
            if label is not None:
                version = model.version_of(label)
            if version is None:
                return [s for _, s in sorted(model.slots.items())]
            if version not in model.slots:
                raise UnknownModelError(f"{name} has no version {version}.")
            return [model.slots[version]]

    def labels(self, name: str) -> Labels:
        """As requests find them now.

        Raises:
          UnknownModelError: there is no such model.
        """
        return self._known(name).labels

    @property
    def ready(self) -> bool:
        """Whether requests should come here.

        At first, once every model that can be is loaded and warm; from then on, while
        any model answers: one that is added, or breaks, does not take the others away.
        """
        return self._was_ready and any(m.available() for m in list(self._models.values()))

    def readiness(self) -> Readiness:
        """As `ready`, with the reasons."""
        with self._lock:
            models = [m for _, m in sorted(self._models.items())]
            return judge(
                models,
                self._folder,
                ready=self._was_ready and any(m.available() for m in models),
                scanned=self.scanned,
                trouble=self._trouble,
            )

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedVersion]:
        """A version, held loaded while it is used.

        Without version and label, labels with traffic weights share the requests;
        where there are none, it is the one that the policy wants, or the newest.

        Raises:
          UnknownModelError: no such model, version or label.
          UnavailableError: it is known, and does not answer now.
        """
        slot, loaded = self._acquire(name, version, label)
        try:
            yield loaded
        finally:
            with self._changed:
                slot.requests -= 1
                if slot.state == "UNLOADING":
                    self._changed.notify_all()

    def _acquire(
        self, name: str, version: int | None, label: str | None
    ) -> tuple[Slot, LoadedVersion]:
        model = self._known(name)
        with self._lock:
            if self._stop.is_set():
                raise UnavailableError("The server is going down.")
            slot, loaded = model.pick(version, label, self._random.random())
            slot.requests += 1
            return slot, loaded

    def _known(self, name: str) -> Served:
        model = self._models.get(name)
        if model is None or not _seen(model):
            raise self._unknown(name)
        return model

    def _unknown(self, name: str) -> UnknownModelError:
        return UnknownModelError(f"No model {name!r}.{nearest(name, list(self._models))}")

    def _names(self) -> list[str]:
        """The models in the folder, and what should be one and is not.

        Raises:
          OSError: it cannot be read.
        """
        found = [d for d in self._folder.iterdir() if not d.name.startswith(".") and d.is_dir()]
        return sorted(d.name for d in found if _may_be_model(d))

    def _look(self) -> None:
        """Takes in what the folder holds; neither loads nor waits."""
        with self._looking:
            try:
                names = self._names()
            except OSError as e:
                # It may be about to be mounted or made; what is loaded goes on answering.
                self._report("folder", str(e))
            else:
                self._report("folder", "")
                with self._lock:
                    for name in names:
                        self._models.setdefault(name, Served(name))
                for model in list(self._models.values()):
                    self._look_at(model)
            with self._lock:
                self.scanned = True
                self._see_whether_ready()

    def _look_at(self, model: Served) -> None:
        folder = self._folder / model.name
        kind, trouble, changed = "", "", list[Slot]()
        on_disk, labels = model.on_disk, model.asked
        try:
            on_disk = list_versions(folder)
            if others := look_alikes(folder):
                kind = "folder"
                trouble = (
                    f"{', '.join(others)}: no version, and passed over; versions are "
                    f"1, 2, … {LARGEST}."
                )
            for slot in _slots(model):
                if slot.error and files_of(folder / str(slot.version)) != slot.files:
                    changed.append(slot)
        except OSError as e:
            kind, trouble = "folder", str(e)
        try:
            labels = read_labels(folder)
        except DataError as e:
            kind, trouble = "labels", str(e)
        with self._lock:
            model.policy = self._config.of(model.name).policy
            model.on_disk, model.asked = on_disk, labels
            for slot in _slots(model):
                gone = slot.version not in on_disk
                if slot.state == "END" and (gone or slot in changed):
                    del model.slots[slot.version]
            self._settle(model)
            known, model.trouble = model.trouble, trouble
            if not (_seen(model) or model.kept_out or trouble):
                del self._models[model.name]
        if trouble and trouble != known:
            self._event(kind, model.name, 0, trouble)

    def _report(self, kind: str, trouble: str) -> None:
        """Tells of what is wrong once, and not at every look."""
        if trouble and trouble != self._trouble:
            self._event(kind, "", 0, trouble)
        self._trouble = trouble

    def _settle(self, model: Served) -> None:
        """Has loaded and unloaded what should be; `_lock` is held."""
        start, stop = model.decide()
        for version in start:
            slot = model.slots[version] = Slot(version)
            self._queue.put((model, slot))
        for version in stop:
            slot = model.slots[version]
            if slot.state == "START":
                model.end(slot)
                continue
            slot.state = "UNLOADING"
            name = f"drain-{model.name}-{version}"
            threading.Thread(target=self._drain, args=(model, slot), name=name, daemon=True).start()
        self._see_whether_ready()
        self._changed.notify_all()

    def _see_whether_ready(self) -> None:
        models = self._models.values()
        if self.scanned and all(m.available() or m.settled() for m in models):
            self._was_ready = self._was_ready or any(m.available() for m in models)

    def _loader(self) -> None:
        while True:
            model, slot = self._queue.get()
            if self._stop.is_set():
                return
            with self._lock:
                if slot.state != "START":
                    continue
                slot.state = "LOADING"
            self._load(model, slot)

    def _load(self, model: Served, slot: Slot) -> None:
        directory = self._folder / model.name / str(slot.version)
        began = time.monotonic()
        loaded, error = None, ""
        try:
            slot.files = files_of(directory)
            slot.held = hold(directory)
            observer = self._observers(model.name, slot.version)
            loaded = self._loads(directory, self._config.of(model.name), self._threads, observer)
        except Exception as e:  # whatever is wrong with a version, the others go on
            error = str(e) or type(e).__name__
            _release(slot)
            self._event("failed", model.name, slot.version, error)
        with self._lock:
            slot.loaded, slot.error = loaded, error
            slot.state = "END" if error else "AVAILABLE"
            self._settle(model)
        if loaded is not None:
            seconds = time.monotonic() - began
            detail = f"{loaded.loading.engine}, {seconds:.1f} s"
            self._event("loaded", model.name, slot.version, detail)
            if where := open_to_all(directory):
                self._event("writable", model.name, slot.version, where)

    def _drain(self, model: Served, slot: Slot) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not slot.requests, self._config.drain_seconds)
            loaded, slot.loaded = slot.loaded, None
        detail = ""
        try:
            if loaded is not None:
                loaded.close()
        except Exception as e:  # it is gone all the same
            detail = str(e) or type(e).__name__
        _release(slot)
        del loaded
        with self._lock:
            model.end(slot)
            self._settle(model)
        self._event("unloaded", model.name, slot.version, detail or slot.unloaded)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(self._config.poll_seconds)


def _may_be_model(folder: Path) -> bool:
    try:
        return bool(list_versions(folder) or look_alikes(folder))
    except OSError:
        return True  # when it is looked at, that is told


def _seen(model: Served) -> bool:
    """Whether there is anything of it; not where only an unload is remembered."""
    return bool(model.slots or model.on_disk)


def _slots(model: Served) -> list[Slot]:
    return list(model.slots.values())


def _release(slot: Slot) -> None:
    if slot.held is not None:
        slot.held.close()
        slot.held = None
