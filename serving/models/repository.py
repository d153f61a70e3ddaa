"""The models under a serving folder, for those who ask for one of their versions.

The folder is looked at by one thread, which only looks; `Loader` loads and unloads.  A
version that cannot be served never replaces one that can.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DataError, nearest
from modelstore.labels import read_labels
from modelstore.versions import LARGEST, list_versions, look_alikes
from serving.config import ServeConfig
from serving.errors import LoadError, UnavailableError, UnknownModelError
from serving.models.batching import Observer
from serving.models.loaded import LoadedVersion
from serving.models.loader import Event, Load, Loader
from serving.models.readiness import Readiness, judge
from serving.models.served import Served, Slot, files_of
from serving.models.version_choice import choose_version, labelled


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
        self._event = event
        self._folder = Path(config.serving)
        self._models: dict[str, Served] = {}
        self._loader = Loader(config, threads, observers, event, load, self._see_whether_ready)
        self._changed, self._stop = self._loader.changed, self._loader.stopping
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="repository", daemon=True)
        self._random = random.Random()
        self._trouble = ""
        self._was_ready = False
        self.scanned = False
        """Whether the folder was looked at once."""

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
                self._loader.settle(model)
            self._changed.wait_for(
                lambda: all(
                    s.state in ("LOADING", "END") for m in self._models.values() for s in _slots(m)
                ),
                self._config.drain_seconds if seconds is None else seconds,
            )
        self._loader.close()

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
            with self._changed:
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
            self._loader.settle(model)
            self._changed.wait_for(
                lambda: self._stop.is_set() or all(s.state == "END" for s in going),
                self._config.drain_seconds,
            )

    def __contains__(self, name: str) -> bool:
        """Returns whether a model was seen in the folder."""
        model = self._models.get(name)
        return model is not None and _seen(model)

    def models(self) -> dict[str, dict[int, Slot]]:
        """Returns every version that was seen, by name; a snapshot."""
        with self._changed:
            return {
                n: dict(sorted(m.slots.items()))
                for n, m in sorted(self._models.items())
                if _seen(m)
            }

    def slots(self, name: str, version: int | None = None, label: str | None = None) -> list[Slot]:
        """Returns the versions of a model, or the one that is named.

        Raises:
          UnknownModelError: there is none.
        """
        model = self._known(name)
        with self._changed:
            if label is not None:
                version = labelled(model, label)
            if version is None:
                return [s for _, s in sorted(model.slots.items())]
            if version not in model.slots:
                raise UnknownModelError(f"{name} has no version {version}.")
            return [model.slots[version]]

    @property
    def ready(self) -> bool:
        """Returns whether requests should come here.

        At first, once every model that can be is loaded and warm; from then on, while
        any model answers: one that is added, or breaks, does not take the others away.
        """
        return self._was_ready and any(m.available() for m in list(self._models.values()))

    def readiness(self) -> Readiness:
        """Says what `ready` does, with the reasons."""
        with self._changed:
            models = [m for _, m in sorted(self._models.items())]
            return judge(
                models, self._folder, ready=self.ready, scanned=self.scanned, trouble=self._trouble
            )

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedVersion]:
        """Holds a version loaded while it is used.

        Without version and label, labels with traffic weights share the requests;
        where there are none, it is the one that the policy wants, or the newest.

        Raises:
          UnknownModelError: no such model, version or label.
          UnavailableError: it is known, and does not answer now.
        """
        model = self._known(name)
        with self._changed:
            if self._stop.is_set():
                raise UnavailableError("The server is going down.")
            slot, loaded = choose_version(model, version, label, self._random.random())
            slot.requests += 1
        try:
            yield loaded
        finally:
            with self._changed:
                slot.requests -= 1
                if slot.state == "UNLOADING":
                    self._changed.notify_all()

    def _known(self, name: str) -> Served:
        model = self._models.get(name)
        if model is None or not _seen(model):
            raise self._unknown(name)
        return model

    def _unknown(self, name: str) -> UnknownModelError:
        return UnknownModelError(f"No model {name!r}.{nearest(name, list(self._models))}")

    def _names(self) -> list[str]:
        """Returns the models in the folder, and what should be one and is not.

        Raises:
          OSError: it cannot be read.
        """
        folders = [d for d in self._folder.iterdir() if not d.name.startswith(".") and d.is_dir()]
        return sorted(d.name for d in folders if _may_be_model(d))

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
                with self._changed:
                    for name in names:
                        self._models.setdefault(name, Served(name))
                for model in list(self._models.values()):
                    self._look_at(model)
            with self._changed:
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
        with self._changed:
            model.policy = self._config.of(model.name).policy
            model.on_disk, model.asked = on_disk, labels
            for slot in _slots(model):
                gone = slot.version not in on_disk
                if slot.state == "END" and (gone or slot in changed):
                    del model.slots[slot.version]
            self._loader.settle(model)
            before, model.trouble = model.trouble, trouble
            if not (_seen(model) or model.kept_out or trouble):
                del self._models[model.name]
        if trouble and trouble != before:
            self._event(kind, model.name, 0, trouble)

    def _report(self, kind: str, trouble: str) -> None:
        """Tells of what is wrong once, and not at every look."""
        if trouble and trouble != self._trouble:
            self._event(kind, "", 0, trouble)
        self._trouble = trouble

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(self._config.poll_seconds)

    def _see_whether_ready(self) -> None:
        models = self._models.values()
        if self.scanned and all(m.available() or m.settled() for m in models):
            self._was_ready = self._was_ready or any(m.available() for m in models)


def _may_be_model(folder: Path) -> bool:
    try:
        return bool(list_versions(folder) or look_alikes(folder))
    except OSError:
        return True  # when it is looked at, that is reported


def _seen(model: Served) -> bool:
    """Returns whether there is anything of it; not where only an unload is remembered."""
    return bool(model.slots or model.on_disk)


def _slots(model: Served) -> list[Slot]:
    return list(model.slots.values())
