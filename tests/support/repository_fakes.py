"""Versions without TensorFlow: a folder with a file that says what loading it does."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers import wait_until

from modelstore.artifact import PushManifest
from modelstore.labels import Labels, write_labels
from modelstore.versions import publish
from serving.config import ModelConfig, ServeConfig
from serving.errors import LoadError
from serving.models.loader import Event
from serving.models.repository import Repository

CONTENT = "content"


class Loads:
    """Loads fake versions, and counts; loads of models in `slow` wait for `go_on`."""

    def __init__(self) -> None:
        self.loaded: list[tuple[str, int]] = []
        self.closed: list[tuple[str, int]] = []
        self.under_way: list[tuple[str, int]] = []
        self.slow: set[str] = set()
        self.go_on = threading.Event()
        self.errors: list[str] = []
        """What must never happen."""

    def __call__(self, directory: Path, config: ModelConfig, threads: int, observer: Any) -> Any:
        key = directory.parent.name, int(directory.name)
        self.under_way.append(key)
        try:
            if key[0] in self.slow:
                assert self.go_on.wait(30)
            content = (directory / CONTENT).read_text()
            if content != "good":
                raise LoadError(f"it is {content}")
        finally:
            self.under_way.remove(key)
        self.loaded.append(key)
        return Fake(key, self)


class Fake:
    def __init__(self, key: tuple[str, int], loads: Loads) -> None:
        self.name, self.version = key
        self.engine, self.seconds = "fake", 0.5
        self.users = 0
        self.is_closed = False
        self._loads = loads

    def close(self) -> None:
        if self.users or self.is_closed:
            self._loads.errors.append(f"{self.name} {self.version}: {self.users} were using it")
        self.is_closed = True
        self._loads.closed.append((self.name, self.version))


class Folder:
    """A serving folder and what watches it."""

    def __init__(self, root: Path, **config: Any) -> None:
        self.root = root
        self.serving = root / "serving"
        self.loads = Loads()
        self.events: list[tuple[str, str, int, str]] = []
        self.event: Event = lambda *told: self.events.append(told)
        config = {"poll_seconds": 0.01, **config}
        self.repository = Repository(
            ServeConfig(serving=str(self.serving), **config),
            threads=1,
            event=lambda *told: self.event(*told),  # noqa: PLW0108 - tests replace it
            load=self.loads,
        )

    def push(self, name: str, content: str = "good") -> int:
        source = self.root / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        (source / CONTENT).write_text(content)
        words: dict[str, Any] = dict.fromkeys(
            ("pushed_at", "framework", "architecture", "run_id"), "x"
        )

        def manifest(version: int) -> PushManifest:
            return PushManifest(
                name=name, version=version, mlmd={}, model_uri=f"/models/{version}", **words
            )

        return publish(source, self.serving / name, manifest).version

    def write(self, name: str, version: int, content: str) -> None:
        (self.serving / name / str(version) / CONTENT).write_text(content)

    def remove(self, name: str, version: int) -> None:
        shutil.rmtree(self.serving / name / str(version))

    def label(self, name: str, weights: dict[str, float] | None = None, **versions: int) -> None:
        write_labels(self.serving / name, Labels(versions=versions, weights=weights or {}))

    def available(self, name: str) -> list[int]:
        slots = self.repository.models().get(name, {})
        return [v for v, s in slots.items() if s.state == "AVAILABLE"]

    def states(self, name: str) -> dict[int, str]:
        return {v: s.state for v, s in self.repository.models().get(name, {}).items()}

    def answer(self, name: str, version: int | None = None, label: str | None = None) -> int:
        with self.repository.use(name, version, label) as loaded:
            return loaded.version

    def see(self, name: str, *versions: int) -> None:
        """Looks at the folder, and waits until only these are loaded."""
        self.repository.refresh()
        wait_until(lambda: list(versions) == [*self.states_loaded(name)], 10)

    def states_loaded(self, name: str) -> list[int]:
        loaded = ("AVAILABLE", "UNLOADING", "LOADING", "START")
        return [v for v, state in self.states(name).items() if state in loaded]


@contextmanager
def watched(folder: Folder) -> Iterator[Folder]:
    folder.repository.start()
    try:
        yield folder
    finally:
        folder.loads.go_on.set()
        folder.repository.close()
        assert folder.loads.errors == []
