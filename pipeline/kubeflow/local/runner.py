"""Walks a compiled pipeline as the backend of Kubeflow Pipelines does, on this machine.

As that was seen to behave, with Kubeflow Pipelines 2.17.0 and Argo 4.0.5: what the driver
and the launcher hand a task and take from it, what a word of a command may hold, and which
tasks are tried again.
"""

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

from common.errors import ConfigError, DataError
from common.files import read_json, write_json
from common.process.timed_log import without_times
from pipeline.kubeflow.local.backend import check_words, expanded
from pipeline.kubeflow.local.engines import Command, Engine
from pipeline.kubeflow.local.objects import download, local_place, upload
from pipeline.kubeflow.spec import Package, Spec, ordered, typed

State = Literal["SUCCEEDED", "CACHED", "FAILED", "SKIPPED"]
DEFAULT_ROOT = "minio://mlpipeline/v2/artifacts"
"""The backend's own, for runs that name none; a spec's is not looked at."""
_LOGS = "executor-logs"
"""The launcher's own output of every task."""
_LOGS_TYPE = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
_PLACEHOLDER = re.compile(
    r"\{\{\$(?:\.(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\['(?P<key>[^']+)'\]"
    r"(?:\.(?P<what>uri|path|output_file))?)?\}\}"
)


@dataclass(slots=True, kw_only=True)
class Outputs:
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Spec] = field(default_factory=dict)
    """RuntimeArtifacts as consumers get them: named by a number, see `_registered`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A task that is to run."""

    name: str
    container: Spec
    declared: Spec
    """Its outputs."""
    values: Mapping[str, Any]
    inputs: Mapping[str, Spec]
    log: Path


class LocalRun:
    """One run.

    Args:
      package: the compiled pipeline.
      values: of its parameters, see `spec.arguments`.
      folder: all that the run makes: `store/` for artifacts, `cache/`, `logs/`, and
        `tasks/` with what the running one has to itself.
      engine: runs the commands.
      told: hears of each task as it begins and ends; None: it begins.
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
        told: Callable[[str, Ended | None], None] = lambda task, ended: None,
        caching: bool = True,
        root: str = DEFAULT_ROOT,
    ) -> None:
        self._spec = package.spec
        self._values = values
        self._run_id = run_id
        self._folder = folder
        self._engine = engine
        self._told = told
        self._caching = caching
        self._store = folder / "store"
        self._root = f"{root.rstrip('/')}/{package.name}/{run_id}"
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
                    executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
                    check_words(task, component, executor["container"])
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
        log = self._folder / "logs" / self._run_id / f"{name.replace('/', '.')}.log"
        asked = _Asked(
            name=name,
            container=container,
            declared=component.get("outputDefinitions", {}),
            values=values,
            inputs=inputs,
            log=log,
        )
        attempts = 1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        outputs, reason = self._tried(asked, attempts)
        seconds = time.monotonic() - began
        state: State = "FAILED" if reason else "SUCCEEDED"
        self._end(Ended(task=name, state=state, seconds=seconds, reason=reason, log=log))
        if cached and not reason:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_json(entry, {"parameters": outputs.parameters, "artifacts": outputs.artifacts})
        return outputs, reason

    def _tried(self, asked: _Asked, attempts: int) -> tuple[Outputs, str]:
        """Runs a task until it ended by itself: Argo tries again where the pod was lost, and
        not where the command failed."""
        outputs, reason = Outputs(), ""
        for _ in range(attempts):
            root = self._folder / "tasks" / self._run_id / asked.name
            shutil.rmtree(root, ignore_errors=True)
            try:
                code, outputs, reason = self._attempt(asked, root)
            finally:
                shutil.rmtree(root, ignore_errors=True)
            if code >= 0:
                break
        return outputs, reason

    def _attempt(self, asked: _Asked, root: Path) -> tuple[int, Outputs, str]:
        """Returns the exit code, or minus the signal, besides what came of it.

        Args:
          root: what the task has to itself.
        """
        place = f"{self._root}/{asked.name}/{uuid.uuid4()}"
        types = {k: d["artifactType"] for k, d in asked.declared.get("artifacts", {}).items()}
        artifacts = {
            key: {"name": key, "type": type_, "uri": f"{place}/{key}", "metadata": {}}
            for key, type_ in types.items()
        }
        logs = {"name": _LOGS, "type": _LOGS_TYPE, "uri": f"{place}/{_LOGS}", "metadata": {}}
        parameters = asked.declared.get("parameters", {})
        files = {key: root / "tmp" / "kfp" / "outputs" / key for key in parameters}
        told = local_place(root, place) / "executor_output.json"
        for artifact in asked.inputs.values():
            download(artifact["uri"], self._store, root)
        for file in (told, *files.values()):
            file.parent.mkdir(parents=True, exist_ok=True)
        executor_input = {
            "inputs": {
                "parameterValues": dict(asked.values),
                "artifacts": {k: {"artifacts": [a]} for k, a in asked.inputs.items()},
            },
            "outputs": {
                "parameters": {k: {"outputFile": str(f)} for k, f in files.items()},
                "artifacts": {k: {"artifacts": [a]} for k, a in {**artifacts, _LOGS: logs}.items()},
                "outputFile": str(told),
            },
        }
        expanded(json.dumps(executor_input), self._run_id)  # is one of the launcher's words
        variables = asked.container.get("env", ())
        words = [*asked.container.get("command", ()), *asked.container.get("args", ())]
        command = Command(
            image=asked.container["image"],
            words=tuple(self._filled(word, executor_input, root) for word in words),
            env={e["name"]: expanded(e["value"], self._run_id) for e in variables},
            root=root,
        )
        code = self._engine.run(command, asked.log)
        if code:
            return code, Outputs(), _why(code, asked.log)
        return 0, *self._read_outputs(parameters, artifacts, files, told, root)

    def _read_outputs(
        self,
        declared: Spec,
        artifacts: dict[str, Spec],
        files: Mapping[str, Path],
        told: Path,
        root: Path,
    ) -> tuple[Outputs, str]:
        parameters = {}
        for key, file in files.items():
            type_ = declared[key]["parameterType"]
            try:
                text = file.read_text(encoding="utf-8")
                value = text if type_ == "STRING" else json.loads(text)
                parameters[key] = typed(key, type_, value)
            except OSError:
                return Outputs(), f"it ended well, but did not write its output parameter {key!r}"
            except (ValueError, ConfigError):
                return Outputs(), f"its output parameter {key!r} is no {type_}"
        if told.exists():
            try:
                given = read_json(told).get("artifacts", {})
                for key, artifact in artifacts.items():
                    if key in given:
                        artifact["metadata"] = given[key]["artifacts"][0].get("metadata", {})
            except (ValueError, KeyError, AttributeError, IndexError, TypeError):
                return Outputs(), "it wrote an executor_output.json that cannot be read"
        for key, artifact in artifacts.items():
            if not local_place(root, artifact["uri"]).exists():
                return Outputs(), f"it ended well, but did not write its output {key!r}"
        for artifact in artifacts.values():
            upload(artifact["uri"], root, self._store)
        registered = {key: _registered(artifact) for key, artifact in artifacts.items()}
        return Outputs(parameters=parameters, artifacts=registered), ""

    def _from_cache(self, entry: Path) -> Outputs | None:
        try:
            found = Outputs(**read_json(entry))
        except (OSError, ValueError, TypeError):
            return None
        there = all(local_place(self._store, a["uri"]).exists() for a in found.artifacts.values())
        return found if there else None

    def _filled(self, text: str, executor_input: Spec, root: Path) -> str:
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
                    return str(local_place(root, uri)) if what == "path" else str(uri)
                if side == "outputs":
                    return str(executor_input[side]["parameters"][key]["outputFile"])
                value = executor_input[side]["parameterValues"][key]
            except KeyError:
                raise ConfigError(f"{match.group()} names nothing that the task has.") from None
            return value if isinstance(value, str) else json.dumps(value)

        return expanded(_PLACEHOLDER.sub(fill, text), self._run_id)

    @staticmethod
    def path_in(folder: Path, uri: str) -> Path:
        """Returns where a URI's files are, of runs in a folder.

        Raises:
          ConfigError: nothing here stands for its scheme.
        """
        return local_place(folder / "store", uri)

    def _end(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._told(ended.task, ended)


def _registered(artifact: Spec) -> Spec:
    """Returns an output as the next tasks get it: under the number that MLMD gave it, with
    the launcher's own properties."""
    session = {"Provider": artifact["uri"].partition("://")[0], "Params": {"fromEnv": "true"}}
    launcher_s = {"display_name": artifact["name"], "store_session_info": json.dumps(session)}
    number = uuid.uuid4().int % 10**9
    return {**artifact, "name": str(number), "metadata": {**artifact["metadata"], **launcher_s}}


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
