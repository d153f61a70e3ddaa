"""Walks a compiled pipeline as the backend of Kubeflow Pipelines does, on this machine.

As that was seen to behave, with Kubeflow Pipelines 2.17.0 and Argo 4.0.5: what the driver
and the launcher hand a task and take from it, what a word of a command may hold, and which
tasks are tried again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import ConfigError, DataError
from common.files import read_json, write_json
from pipeline.kubeflow.local.engines import Engine
from pipeline.kubeflow.local.launcher import (
    PLACEHOLDER,
    Launcher,
    Outputs,
    Task,
    as_text,
    check_words,
)
from pipeline.kubeflow.local.objects import local_place
from pipeline.kubeflow.spec import Package, Spec, completed, ordered

State = Literal["SUCCEEDED", "CACHED", "FAILED", "SKIPPED"]
DEFAULT_ROOT = "minio://mlpipeline/v2/artifacts"
"""The backend's own, for runs that name none; a spec's is not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a task ended."""

    task: str
    state: State
    seconds: float = 0.0
    reason: str = ""
    log: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a run ended."""

    run_id: str
    tasks: tuple[Ended, ...]
    outputs: dict[str, Outputs]
    """Of the tasks that succeeded, by name."""

    @property
    def succeeded(self) -> bool:
        return all(t.state in ("SUCCEEDED", "CACHED") for t in self.tasks)


class LocalRun:
    """One run.

    Args:
      package: the compiled pipeline.
      values: of its parameters, see `spec.arguments`.
      folder: all that the run makes: `store/` for artifacts, `cache/`, `logs/`, and
        `tasks/` with what the running one has to itself.
      engine: runs the commands.
      report: hears of each task as it begins and ends; None: it begins.
      caching: False runs everything.
      root: where artifacts go.
    """

    def __init__(
        self,
        package: Package,
        values: Mapping[str, Any],
        run_id: str,
        folder: Path,
        engine: Engine,
        report: Callable[[str, Ended | None], None] = lambda task, ended: None,
        caching: bool = True,
        root: str = DEFAULT_ROOT,
    ) -> None:
        self._spec = package.spec
        self._values = values
        self._run_id = run_id
        self._folder = folder
        self._report = report
        self._caching = caching
        root = f"{root.rstrip('/')}/{package.name}/{run_id}"
        self._launcher = Launcher(engine, folder, run_id, root)
        self._outputs: dict[str, Outputs] = {}

    def run(self) -> Finished:
        """Runs all tasks, one after the other; after one that failed, none."""
        tasks = self._spec["root"]["dag"]["tasks"]
        ended: list[Ended] = []
        for name in ordered(tasks):
            failed = len(self._outputs) < len(ended)
            end = Ended(task=name, state="SKIPPED") if failed else self._task(name, tasks[name])
            ended.append(end)
            self._report(name, end)
        return Finished(run_id=self._run_id, tasks=tuple(ended), outputs=self._outputs)

    def _task(self, name: str, spec: Spec) -> Ended:
        component = self._spec["components"][spec["componentRef"]["name"]]
        executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
        container = executor["container"]
        log: Path | None = None
        began = time.monotonic()
        try:
            values, inputs = self._inputs(spec, component)
            check_words(spec, component, container)
            cached = self._caching and spec.get("cachingOptions", {}).get("enableCache", False)
            key = _fingerprint(container, component, values, inputs)
            entry = self._folder / "cache" / f"{key}.json"
            if cached and (outputs := self._from_cache(entry)) is not None:
                self._outputs[name] = outputs
                return Ended(task=name, state="CACHED")
            self._report(name, None)
            log = self._folder / "logs" / self._run_id / f"{name}.log"
            outputs = self._launcher.run(
                Task(
                    name=name,
                    container=container,
                    declared=component.get("outputDefinitions", {}),
                    values=values,
                    inputs=inputs,
                    log=log,
                    attempts=1 + int(spec.get("retryPolicy", {}).get("maxRetryCount", 0)),
                )
            )
        except (ConfigError, DataError) as e:
            seconds = time.monotonic() - began
            return Ended(task=name, state="FAILED", seconds=seconds, reason=str(e), log=log)
        self._outputs[name] = outputs
        if cached:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_json(entry, {"parameters": outputs.parameters, "artifacts": outputs.artifacts})
        return Ended(task=name, state="SUCCEEDED", seconds=time.monotonic() - began, log=log)

    def _inputs(self, spec: Spec, component: Spec) -> tuple[dict[str, Any], dict[str, Spec]]:
        """Returns a task's parameters and artifacts."""
        sources = spec.get("inputs", {})
        values: dict[str, Any] = {}
        constants: dict[str, Any] = {}
        for key, source in sources.get("parameters", {}).items():
            match source:
                case {"componentInputParameter": name}:
                    if name in self._values:
                        values[key] = self._values[name]
                case {"runtimeValue": value}:
                    constants[key] = value["constant"]
                case {"taskOutputParameter": place}:
                    producer = self._outputs[place["producerTask"]]
                    values[key] = producer.parameters[place["outputParameterKey"]]
                case _:
                    raise _unknown(key, source)
        values |= {
            key: _constant(value, {**constants, **values}) for key, value in constants.items()
        }
        artifacts = {}
        for key, source in sources.get("artifacts", {}).items():
            match source:
                case {"taskOutputArtifact": place}:
                    producer = self._outputs[place["producerTask"]]
                    artifacts[key] = producer.artifacts[place["outputArtifactKey"]]
                case _:
                    raise _unknown(key, source)
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        missing = "The input parameter {!r} has no value."
        return completed(values, declared, missing), artifacts

    def _from_cache(self, entry: Path) -> Outputs | None:
        try:
            outputs = Outputs(**read_json(entry))
        except (OSError, ValueError, TypeError):
            return None
        places = (self.path_in(self._folder, a["uri"]) for a in outputs.artifacts.values())
        return outputs if all(place.exists() for place in places) else None

    @staticmethod
    def path_in(folder: Path, uri: str) -> Path:
        """Returns where a URI's files are, of runs in a folder.

        Raises:
          ConfigError: nothing here stands for its scheme.
        """
        return local_place(folder / "store", uri)


def _unknown(key: str, source: Spec) -> ConfigError:
    return ConfigError(f"The input {key} comes from {next(iter(source))}, which is not known here.")


def _constant(value: Any, values: Mapping[str, Any]) -> Any:
    """Returns a constant, with the task's other inputs that it mentions."""
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        if match.group("kind") != "parameters" or match.group("key") not in values:
            return match.group()
        return as_text(values[match.group("key")])

    return PLACEHOLDER.sub(fill, value)


def _fingerprint(
    container: Spec, component: Spec, values: Mapping[str, Any], inputs: Mapping[str, Spec]
) -> str:
    """Returns a digest of what the backend's cache key is made of.

    That is the command before placeholders are filled in, the parameters' values, the input
    artifacts' names and the outputs' types.
    """
    parts = {
        "container": {k: container.get(k) for k in ("image", "command", "args", "env")},
        "parameters": dict(values),
        "artifacts": {k: a["name"] for k, a in inputs.items()},
        "outputs": component.get("outputDefinitions", {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
