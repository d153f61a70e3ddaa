"""Loads the versions of models that are wanted, and unloads the others, beside the requests.

A new version is loaded beside the old one, and takes over when it is warm; the old one
finishes what it has and goes.  Loads are done by a few threads, and each version that goes
has one that waits for its requests, so that none of them holds up another model.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from modelstore.in_use import hold
from modelstore.permissions import open_to_all
from serving.config import ModelConfig, ServeConfig
from serving.models.batching import Observer
from serving.models.loaded import LoadedVersion
from serving.models.served import Served, Slot, files_of
from serving.models.shares import Decoding

Event = Callable[[str, str, int, str], None]
"""Told what happens: kind, model, version, detail.  Kinds: "loaded", "failed",
"unloaded", "writable" after "loaded" when everybody may write to what is served, and
"folder" and "labels" when one of them cannot be read any more."""

LOADERS = 2
"""Versions that are loaded at a time: each takes the CPUs for its warm-up."""


Load = Callable[[Path, ModelConfig, int, Observer], LoadedVersion]
"""Makes a version that answers, or raises; `LoadedVersion` does."""


class Loader:
    """The threads that load and unload; see `Repository` for what it is made with.

    Args:
      settled: called, with `changed` held, when it was decided what should be loaded.
    """

    def __init__(
        self,
        config: ServeConfig,
        threads: int,
        observers: Callable[[str, int], Observer],
        event: Event,
        load: Load | None,
        settled: Callable[[], None],
    ) -> None:
        self.changed = threading.Condition(threading.Lock())
        """Held for decisions alone; notified when a slot's state, or its last request, ended."""
        self.stopping = threading.Event()
        self._config = config
        self._threads = threads
        self._observers = observers
        self._event = event
        self._make = load or partial(
            LoadedVersion,
            max_pixels=config.limits.pixels,
            decoding=Decoding(config.limits, threads),
        )
        self._settled = settled
        self._queue: queue.SimpleQueue[tuple[Served, Slot]] = queue.SimpleQueue()
        for number in range(LOADERS):
            threading.Thread(target=self._work, name=f"loader-{number}", daemon=True).start()

    def settle(self, model: Served) -> None:
        """Has loaded and unloaded what should be; `changed` is held."""
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
        self._settled()
        self.changed.notify_all()

    def close(self) -> None:
        """Ends the threads that load; a load that is under way is not waited for."""
        for _ in range(LOADERS):
            self._queue.put((Served(""), Slot(0)))  # wakes one up, to find it is over

    def _work(self) -> None:
        while True:
            model, slot = self._queue.get()
            if self.stopping.is_set():
                return
            with self.changed:
                if slot.state != "START":
                    continue
                slot.state = "LOADING"
            self._load(model, slot)

    def _load(self, model: Served, slot: Slot) -> None:
        directory = Path(self._config.serving, model.name, str(slot.version))
        began = time.monotonic()
        loaded, error = None, ""
        try:
            slot.files = files_of(directory)
            slot.held = hold(directory)
            observer = self._observers(model.name, slot.version)
            loaded = self._make(directory, self._config.of(model.name), self._threads, observer)
        except Exception as e:  # whatever is wrong with a version, the others go on
            error = str(e) or type(e).__name__
            _release(slot)
            self._event("failed", model.name, slot.version, error)
        with self.changed:
            slot.loaded, slot.error = loaded, error
            slot.state = "END" if error else "AVAILABLE"
            self.settle(model)
        if loaded is not None:
            seconds = time.monotonic() - began
            detail = f"{loaded.engine}, {seconds:.1f} s"
            self._event("loaded", model.name, slot.version, detail)
            if where := open_to_all(directory):
                self._event("writable", model.name, slot.version, where)

    def _drain(self, model: Served, slot: Slot) -> None:
        with self.changed:
            self.changed.wait_for(lambda: not slot.requests, self._config.drain_seconds)
            loaded, slot.loaded = slot.loaded, None
        detail = ""
        try:
            if loaded is not None:
                loaded.close()
        except Exception as e:  # it is gone all the same
            detail = str(e) or type(e).__name__
        _release(slot)
        del loaded
        with self.changed:
            model.end(slot)
            self.settle(model)
        self._event("unloaded", model.name, slot.version, detail or slot.unloaded)


def _release(slot: Slot) -> None:
    if slot.held is not None:
        slot.held.close()
        slot.held = None
