"""Walks a compiled pipeline as the backend of Kubeflow Pipelines does, on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.mounts import MOUNTS
from components.timed_log import without_times
from pipeline.kubeflow.engines import Command, Engine
from pipeline.kubeflow.spec import Package, Spec, ordered, typed
from trainers.errors import ConfigError, DataError
from trainers.files import read_json, write_json

State = Literal["SUCCEEDED", "CACHED", "FAILED", "SKIPPED"]
_PLACEHOLDER = re.compile(
    r"\{\{\$(?:\.(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\['(?P<key>[^']+)'\]"
    r"(?:\.(?P<what>uri|path|output_file))?)?\}\}"
)


@dataclass(slots=True, kw_only=True)
class Outputs:
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Spec] = field(default_factory=dict)
    """RuntimeArtifacts: name, uri, type, metadata."""


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
      folder: all that the run makes: `store/` for artifacts, `cache/` and `logs/`.
      engine: runs the commands.
      told: hears of each task as it begins and ends; None: it begins.
      caching: False runs everything.
    """

    def __init__(
        self,
        package: Package,
        values: Mapping[str, Any],
        run_id: str,
        folder: Path,
        engine: Engine,
        told: Callable[[str, Ended | None], None] = lambda task, ended: None,
        caching: bool = True,
    ) -> None:
        self._spec = package.spec
        self._values = values
        self._run_id = run_id
        self._folder = folder
        self._engine = engine
        self._told = told
        self._caching = caching
        self._root = package.spec.get("defaultPipelineRoot") or str(folder / "store" / "root")
        self._root = f"{self._root.rstrip('/')}/{package.name}/{run_id}"
        self._ended: list[Ended] = []

    def run(self) -> Finished:
        """Runs all tasks, one after the other."""
        root = self._spec["root"]
        done, _ = self._dag(root["dag"], dict(self._values), {}, "")
        return Finished(run_id=self._run_id, tasks=tuple(self._ended), outputs=done)

    def _dag(
        self, dag: Spec, values: Mapping[str, Any], artifacts: Mapping[str, Spec], prefix: str
    ) -> tuple[dict[str, Outputs], str]:
        """Returns what its tasks gave, and why it failed or ""."""
        done: dict[str, Outputs] = {}
        failures: dict[str, str] = {}
        for name in ordered(dag["tasks"]):
            task = dag["tasks"][name]
            before = [b for b in task.get("dependentTasks", ()) if b in failures]
            always = task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
            if not always and (before or failures):
                failures[name] = ""
                self._end(Ended(task=prefix + name, state="SKIPPED"))
                continue
            component = self._spec["components"][task["componentRef"]["name"]]
            try:
                given, inputs = _inputs(task, component, values, artifacts, done, failures)
                if "dag" in component:
                    inner, reason = self._dag(component["dag"], given, inputs, f"{prefix}{name}/")
                    outputs = _dag_outputs(component["dag"], inner) if not reason else Outputs()
                else:
                    outputs, reason = self._task(prefix + name, task, component, given, inputs)
            except (ConfigError, DataError) as e:
                outputs, reason = Outputs(), str(e)
                self._end(Ended(task=prefix + name, state="FAILED", reason=reason))
            if reason:
                failures[name] = reason
            else:
                done[name] = outputs
        return done, next((r for r in failures.values() if r), "")

    def _task(
        self,
        name: str,
        task: Spec,
        component: Spec,
        values: Mapping[str, Any],
        inputs: Mapping[str, Spec],
    ) -> tuple[Outputs, str]:
        container = self._spec["deploymentSpec"]["executors"][component["executorLabel"]][
            "container"
        ]
        cached = self._caching and task.get("cachingOptions", {}).get("enableCache", False)
        key = _fingerprint(container, component, values, inputs)
        entry = self._folder / "cache" / f"{key}.json"
        if cached and (found := self._from_cache(entry)) is not None:
            self._end(Ended(task=name, state="CACHED"))
            return found, ""
        self._told(name, None)
        began = time.monotonic()
        attempts = 1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        outputs, reason = Outputs(), ""
        log = self._folder / "logs" / self._run_id / f"{name.replace('/', '.')}.log"
        for _ in range(attempts):
            outputs, reason = self._attempt(name, component, container, values, inputs, log)
            if not reason:
                break
        seconds = time.monotonic() - began
        state: State = "FAILED" if reason else "SUCCEEDED"
        self._end(Ended(task=name, state=state, seconds=seconds, reason=reason, log=log))
        if cached and not reason:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_json(entry, {"parameters": outputs.parameters, "artifacts": outputs.artifacts})
        return outputs, reason

    def _attempt(
        self,
        name: str,
        component: Spec,
        container: Spec,
        values: Mapping[str, Any],
        inputs: Mapping[str, Spec],
        log: Path,
    ) -> tuple[Outputs, str]:
        declared = component.get("outputDefinitions", {})
        place = f"{self._root}/{name}"
        shutil.rmtree(self._path(place), ignore_errors=True)
        place = f"{place}/{uuid.uuid4()}"
        work = self._folder / "store" / "tasks" / self._run_id / name
        shutil.rmtree(work, ignore_errors=True)
        artifacts = {
            key: {
                "name": f"{place}/{key}",
                "type": definition["artifactType"],
                "uri": f"{place}/{key}",
                "metadata": {},
            }
            for key, definition in declared.get("artifacts", {}).items()
        }
        for artifact in artifacts.values():
            self._path(artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
        files = {key: work / "parameters" / key for key in declared.get("parameters", {})}
        for file in files.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        executor_input = {
            "inputs": {
                "parameterValues": dict(values),
                "artifacts": {k: {"artifacts": [a]} for k, a in inputs.items()},
            },
            "outputs": {
                "parameters": {k: {"outputFile": str(f)} for k, f in files.items()},
                "artifacts": {k: {"artifacts": [a]} for k, a in artifacts.items()},
                "outputFile": str(work / "executor_output.json"),
            },
        }
        words = [*container.get("command", ()), *container.get("args", ())]
        command = Command(
            image=container["image"],
            words=tuple(self._filled(word, executor_input) for word in words),
            env={e["name"]: e["value"] for e in container.get("env", ())},
        )
        code = self._engine.run(command, log)
        if code:
            return Outputs(), _why(code, log)
        return self._read_outputs(declared, artifacts, files, work)

    def _read_outputs(
        self, declared: Spec, artifacts: dict[str, Spec], files: Mapping[str, Path], work: Path
    ) -> tuple[Outputs, str]:
        parameters = {}
        for key, file in files.items():
            type_ = declared["parameters"][key]["parameterType"]
            try:
                text = file.read_text(encoding="utf-8")
                value = text if type_ == "STRING" else json.loads(text)
                parameters[key] = typed(key, type_, value)
            except OSError:
                return Outputs(), f"it ended well, but did not write its output parameter {key!r}"
            except (ValueError, ConfigError):
                return Outputs(), f"its output parameter {key!r} is no {type_}"
        told = work / "executor_output.json"
        if told.exists():
            try:
                for key, listed in read_json(told).get("artifacts", {}).items():
                    artifacts[key]["metadata"] = listed["artifacts"][0].get("metadata", {})
            except (ValueError, KeyError, AttributeError, IndexError, TypeError):
                return Outputs(), "it wrote an executor_output.json that cannot be read"
        for key, artifact in artifacts.items():
            if not self._path(artifact["uri"]).exists():
                return Outputs(), f"it ended well, but did not write its output {key!r}"
        return Outputs(parameters=parameters, artifacts=artifacts), ""

    def _from_cache(self, entry: Path) -> Outputs | None:
        try:
            found = Outputs(**read_json(entry))
        except (OSError, ValueError, TypeError):
            return None
        there = all(self._path(a["uri"]).exists() for a in found.artifacts.values())
        return found if there else None

    def _filled(self, text: str, executor_input: Spec) -> str:
        """A word of a command with its placeholders filled in.

        Raises:
          ConfigError: one names nothing.
        """

        def fill(match: re.Match[str]) -> str:
            side, kind, key, what = match.group("side", "kind", "key", "what")
            if side is None:
                return json.dumps(executor_input)
            try:
                if kind == "artifacts":
                    uri = executor_input[side]["artifacts"][key]["artifacts"][0]["uri"]
                    return str(self._path(uri)) if what == "path" else str(uri)
                if side == "outputs":
                    return str(executor_input[side]["parameters"][key]["outputFile"])
                value = executor_input[side]["parameterValues"][key]
            except KeyError:
                raise ConfigError(f"{match.group()} names nothing that the task has.") from None
            return value if isinstance(value, str) else json.dumps(value)

        return _PLACEHOLDER.sub(fill, text)

    def _path(self, uri: str) -> Path:
        return self.path_in(self._folder, uri)

    @staticmethod
    def path_in(folder: Path, uri: str) -> Path:
        """Where a URI's files are, of a run in a folder.

        Raises:
          ConfigError: nothing here stands for its scheme.
        """
        scheme, separator, rest = uri.partition("://")
        if not separator:
            return Path(uri)
        if scheme not in MOUNTS:
            raise ConfigError(f"The pipeline root {uri!r} cannot be kept here.")
        return folder / "store" / MOUNTS[scheme].strip("/") / rest

    def _end(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._told(ended.task, ended)


def _inputs(
    task: Spec,
    component: Spec,
    values: Mapping[str, Any],
    artifacts: Mapping[str, Spec],
    done: Mapping[str, Outputs],
    failures: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, Spec]]:
    """A task's parameters and artifacts.

    Raises:
      ConfigError: one comes from nowhere.
    """
    given: dict[str, Any] = {}
    constants: list[str] = []
    definitions = component.get("inputDefinitions", {}).get("parameters", {})
    for key, source in task.get("inputs", {}).get("parameters", {}).items():
        ((kind, value),) = ((k, v) for k, v in source.items() if k != "parameterExpressionSelector")
        if kind == "componentInputParameter":
            if value in values:
                given[key] = values[value]
        elif kind == "runtimeValue":
            given[key] = value["constant"]
            constants.append(key)
        elif kind == "taskOutputParameter":
            given[key] = done[value["producerTask"]].parameters[value["outputParameterKey"]]
        elif kind == "taskFinalStatus":
            reason = failures.get(value["producerTask"], "")
            given[key] = {
                "state": "FAILED" if value["producerTask"] in failures else "SUCCEEDED",
                "pipelineTaskName": value["producerTask"],
                **({"error": {"message": reason}} if reason else {}),
            }
        else:
            raise ConfigError(f"The input {key} comes from {kind}, which is not known here.")
    for key in constants:
        given[key] = _constant(given[key], given)
    for key, definition in definitions.items():
        if key not in given and "defaultValue" in definition:
            given[key] = definition["defaultValue"]
        if key in given:
            given[key] = typed(key, definition["parameterType"], given[key])
        elif not definition.get("isOptional"):
            raise ConfigError(f"The input parameter {key!r} has no value.")
    found = {}
    for key, source in task.get("inputs", {}).get("artifacts", {}).items():
        if "taskOutputArtifact" in source:
            place = source["taskOutputArtifact"]
            found[key] = done[place["producerTask"]].artifacts[place["outputArtifactKey"]]
        else:
            found[key] = artifacts[source["componentInputArtifact"]]
    return given, found


def _constant(value: Any, values: Mapping[str, Any]) -> Any:
    """A constant, with the task's other inputs that it mentions."""
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        if match.group("kind") != "parameters" or match.group("key") not in values:
            return match.group()
        found = values[match.group("key")]
        return found if isinstance(found, str) else json.dumps(found)

    return _PLACEHOLDER.sub(fill, value)


def _dag_outputs(dag: Spec, inner: Mapping[str, Outputs]) -> Outputs:
    outputs = Outputs()
    declared = dag.get("outputs", {})
    for key, source in declared.get("parameters", {}).items():
        place = source["valueFromParameter"]
        outputs.parameters[key] = inner[place["producerSubtask"]].parameters[
            place["outputParameterKey"]
        ]
    for key, source in declared.get("artifacts", {}).items():
        (place,) = source["artifactSelectors"]
        outputs.artifacts[key] = inner[place["producerSubtask"]].artifacts[
            place["outputArtifactKey"]
        ]
    return outputs


def _fingerprint(
    container: Spec, component: Spec, values: Mapping[str, Any], inputs: Mapping[str, Spec]
) -> str:
    """What the backend's cache key is made of: the command before placeholders are filled
    in, the parameters' values, the input artifacts' names and the outputs' types."""
    parts = {
        "container": {k: container.get(k) for k in ("image", "command", "args", "env")},
        "parameters": dict(values),
        "artifacts": {k: a["name"] for k, a in inputs.items()},
        "outputs": component.get("outputDefinitions", {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _why(code: int, log: Path) -> str:
    """An exit code, and the last words of the log."""
    lines = [t for t in without_times(log.read_text("utf-8", "replace")).splitlines() if t.strip()]
    told = next((t for t in reversed(lines) if t.startswith("visionline: ")), "")
    last = told.removeprefix("visionline: ") or (lines[-1] if lines else "it printed nothing")
    return f"exit code {code}: {last[:500]}"
