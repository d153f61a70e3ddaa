"""The models under a serving folder, and which of their versions answer.

A new version is loaded beside the old one, and takes over when it is warm; the old
one finishes what it has and goes.  One that cannot be served never replaces one that
can.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from serving.batching import Observer
from serving.config import ServeConfig
from serving.errors import LoadError, UnavailableError, UnknownModelError
from serving.labels import Labels, read_labels
from serving.loaded import LoadedVersion
from trainers.errors import DataError, nearest
from trainers.versions import list_versions

State = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
"""As TensorFlow Serving names them."""

Event = Callable[[str, str, int, str], None]
"""Told what happens: kind ("loaded", "failed", "unloaded"), model, version, detail."""


@dataclass(slots=True)
class Slot:
    """One version, from when it is seen until it is gone."""

    version: int
    state: State = "START"
    error: str = ""
    loaded: LoadedVersion | None = None
    requests: int = 0
    """That are using it now."""


@dataclass(slots=True)
class Served:
    """One model's versions."""

    name: str
    slots: dict[int, Slot] = field(default_factory=dict)
    labels: Labels = field(default_factory=Labels)
    unloaded_by_request: bool = False

    def available(self) -> list[int]:
        return sorted(v for v, s in self.slots.items() if s.state == "AVAILABLE")


class Repository:
    """Watches a serving folder.

    Args:
      observers: makes the observer of a version, by name and version.
      event: told about loads and unloads.
    """

    def __init__(
        self,
        config: ServeConfig,
        threads: int,
        observers: Callable[[str, int], Observer] = lambda name, version: Observer(),
        event: Event = lambda kind, name, version, detail: None,
    ) -> None:
        self._config = config
        self._threads = threads
        self._observers = observers
        self._event = event
        self._folder = Path(config.serving)
        self._models: dict[str, Served] = {}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="repository", daemon=True)
        self._random = random.Random()
        self.scanned = False
        """Whether the folder was looked at once, and all that could be loaded was."""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Lets every version finish, within `drain_seconds`."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for model in self._models.values():
            for slot in list(model.slots.values()):
                self._unload(model, slot)

    def refresh(self) -> None:
        """Looks at the folder once, and loads and unloads what that asks for."""
        with self._refreshing:
            for name in self._names():
                with self._lock:
                    model = self._models.setdefault(name, Served(name))
                self._refresh_model(model)
            self.scanned = True

    def load(self, name: str) -> None:
        """Loads a model that was unloaded by request.

        Raises:
          UnknownModelError: it is not in the folder.
          LoadError: none of its versions can be served.
        """
        if name not in self._names():
            raise self._unknown(name)
        with self._lock:
            model = self._models.setdefault(name, Served(name))
            model.unloaded_by_request = False
            for version in [v for v, s in model.slots.items() if s.state == "END"]:
                del model.slots[version]
        with self._refreshing:
            self._refresh_model(model)
        if not model.available():
            errors = [s.error for s in model.slots.values() if s.error]
            raise LoadError("; ".join(errors) or f"{name} has no version to load.")

    def unload(self, name: str) -> None:
        """Unloads all versions of a model, until `load`."""
        model = self._known(name)
        with self._refreshing:
            model.unloaded_by_request = True
            for slot in list(model.slots.values()):
                if slot.state == "AVAILABLE":
                    self._unload(model, slot)

    def models(self) -> dict[str, dict[int, Slot]]:
        """Every version that was seen, by name; a snapshot."""
        with self._lock:
            return {n: dict(sorted(m.slots.items())) for n, m in sorted(self._models.items())}

    def slots(self, name: str, version: int | None = None, label: str | None = None) -> list[Slot]:
        """The versions of a model, or the one that is named.

        Raises:
          UnknownModelError: there is none.
        """
        model = self._known(name)
        with self._lock:
            if label is not None:
                version = self._version_of(model, label)
            if version is None:
                return [s for _, s in sorted(model.slots.items())]
            if version not in model.slots:
                raise UnknownModelError(f"{name} has no version {version}.")
            return [model.slots[version]]

    def labels(self, name: str) -> Labels:
        return self._known(name).labels

    @property
    def ready(self) -> bool:
        """Whether every model in the folder has a version that answers."""
        models = [m for m in list(self._models.values()) if not m.unloaded_by_request]
        return self.scanned and bool(models) and all(m.available() for m in models)

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedVersion]:
        """A version, held loaded while it is used.

        Without version and label, labels with traffic weights share the requests;
        where there are none, it is the latest that is available.

        Raises:
          UnknownModelError: no such model, version or label.
          UnavailableError: it is known, and does not answer now.
        """
        slot = self._acquire(name, version, label)
        try:
            assert slot.loaded is not None
            yield slot.loaded
        finally:
            with self._idle:
                slot.requests -= 1
                self._idle.notify_all()

    def _acquire(self, name: str, version: int | None, label: str | None) -> Slot:
        model = self._known(name)
        with self._lock:
            if label is not None:
                version = self._version_of(model, label)
            if version is None:
                available = model.available()
                if not available:
                    raise self._unavailable(model)
                drawn = model.labels.draw(available, self._random.random())
                version = drawn if drawn is not None else available[-1]
            slot = model.slots.get(version)
            if slot is None or slot.state in ("UNLOADING", "END"):
                if slot is not None and slot.error:
                    raise UnavailableError(f"{name} version {version}: {slot.error}")
                known = ", ".join(map(str, model.available())) or "none"
                raise UnknownModelError(
                    f"{name} has no version {version} loaded. Available: {known}."
                )
            if slot.state != "AVAILABLE":
                raise UnavailableError(f"{name} version {version} is being loaded; try again.")
            slot.requests += 1
            return slot

    def _version_of(self, model: Served, label: str) -> int:
        versions = model.labels.versions
        if label not in versions:
            raise UnknownModelError(
                f"{model.name} has no label {label!r}.{nearest(label, versions)}"
            )
        return versions[label]

    def _known(self, name: str) -> Served:
        model = self._models.get(name)
        if model is None:
            raise self._unknown(name)
        return model

    def _unknown(self, name: str) -> UnknownModelError:
        return UnknownModelError(f"No model {name!r}.{nearest(name, self._models)}")

    def _unavailable(self, model: Served) -> UnavailableError:
        errors = [f"version {s.version}: {s.error}" for s in model.slots.values() if s.error]
        reason = "; ".join(errors) or "it is being loaded"
        return UnavailableError(f"No version of {model.name} answers: {reason}")

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        found = (d for d in self._folder.iterdir() if not d.name.startswith("."))
        return sorted(d.name for d in found if d.is_dir() and list_versions(d))

    def _refresh_model(self, model: Served) -> None:
        if model.unloaded_by_request:
            return
        folder = self._folder / model.name
        on_disk = list_versions(folder)
        try:
            model.labels = read_labels(folder)
        except DataError as e:
            self._event("labels", model.name, 0, str(e))
        wanted = self._wanted(model, on_disk)
        for version in wanted:
            if version not in model.slots:
                self._load(model, folder / str(version))
        good = model.available()
        # With the latest wanted and broken, the latest good one stays.
        keep = set(wanted) if set(wanted) & set(good) else set(good[-1:])
        for version, slot in list(model.slots.items()):
            if slot.state == "AVAILABLE" and version not in keep:
                self._unload(model, slot)
            elif slot.state == "END" and version not in on_disk:
                with self._lock:
                    del model.slots[version]

    def _wanted(self, model: Served, on_disk: list[int]) -> list[int]:
        policy = self._config.of(model.name).policy
        labelled = [v for v in model.labels.versions.values() if v in on_disk]
        if policy == "all":
            return on_disk
        if policy == "latest":
            return sorted({*on_disk[-1:], *labelled})
        return sorted({*(v for v in policy if v in on_disk), *labelled})

    def _load(self, model: Served, directory: Path) -> None:
        slot = Slot(int(directory.name), state="LOADING")
        with self._lock:
            model.slots[slot.version] = slot
        try:
            slot.loaded = LoadedVersion(
                directory,
                self._config.of(model.name),
                self._threads,
                self._observers(model.name, slot.version),
            )
        except Exception as e:  # whatever is wrong with a version, the others go on
            slot.error = str(e) or type(e).__name__
            slot.state = "END"
            self._event("failed", model.name, slot.version, slot.error)
            return
        with self._lock:
            slot.state = "AVAILABLE"
        loading = slot.loaded.loading
        self._event(
            "loaded", model.name, slot.version, f"{loading.engine}, {loading.seconds:.1f} s"
        )

    def _unload(self, model: Served, slot: Slot) -> None:
        with self._idle:
            if slot.state != "AVAILABLE" or slot.loaded is None:
                return
            slot.state = "UNLOADING"
            until = time.monotonic() + self._config.drain_seconds
            while slot.requests and (left := until - time.monotonic()) > 0:
                self._idle.wait(left)
        slot.loaded.close()
        slot.loaded = None
        with self._lock:
            slot.state = "END"
            # Seen again, it would be loaded again.
            model.slots.pop(slot.version, None)
        self._event("unloaded", model.name, slot.version, "")

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            except OSError as e:  # the folder may be remade, or a disk may hang
                self._event("folder", "", 0, str(e))
            self._stop.wait(self._config.poll_seconds)
