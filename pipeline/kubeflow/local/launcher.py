"""One task as Kubeflow's launcher runs it: what it hands the command, and takes from it."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DataError
from common.files import read_json
from common.process.timed_log import without_times
from pipeline.kubeflow.compiler.lengths import length
from pipeline.kubeflow.local.engines import Command, Engine
from pipeline.kubeflow.local.objects import download, local_place, upload
from pipeline.kubeflow.spec import Spec, typed
from pipeline.kubeflow.words import LONGEST

PLACEHOLDER = re.compile(
    r"\{\{\$(?:\.(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\['(?P<key>[^']+)'\]"
    r"(?:\.(?P<what>uri|path|output_file))?)?\}\}"
)
_ARGO = re.compile(r"\{\{\s*(workflow\.(?:name|uid|namespace))\s*\}\}")
_LOGS = "executor-logs"
"""The launcher's own output of every task."""
_LOGS_TYPE = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}


@dataclass(slots=True, kw_only=True)
class Outputs:
    """What a task made."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Spec] = field(default_factory=dict)
    """RuntimeArtifacts as consumers get them: named by a number, see `_registered`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that is to run."""

    name: str
    container: Spec
    declared: Spec
    """Its outputs."""
    values: Mapping[str, Any]
    inputs: Mapping[str, Spec]
    log: Path
    attempts: int


class Launcher:
    """Launches the tasks of one run.

    Args:
      engine: runs the commands.
      folder: has `store/` for artifacts, and `tasks/` with what the running one has to itself.
      root: where the run's artifacts go.
    """

    def __init__(self, engine: Engine, folder: Path, run_id: str, root: str) -> None:
        self._engine = engine
        self._store = folder / "store"
        self._tasks = folder / "tasks" / run_id
        self._run_id = run_id
        self._root = root

    def run(self, task: Task) -> Outputs:
        """Runs a task until it ended by itself.

        Argo tries again where the pod was lost, and not where the command failed.

        Raises:
          DataError: it failed, or lacks an output.
          ConfigError: it cannot be started.
        """
        root = self._tasks / task.name
        for left in reversed(range(task.attempts)):
            shutil.rmtree(root, ignore_errors=True)
            try:
                executor_input = self._executor_input(task, root)
                code = self._engine.run(self._command(task, executor_input, root), task.log)
                if code == 0:
                    return self._outputs(task, executor_input["outputs"], root)
            finally:
                shutil.rmtree(root, ignore_errors=True)
            if code > 0 or not left:
                break
        raise DataError(_why(code, task.log))

    def _executor_input(self, task: Task, root: Path) -> Spec:
        """Copies the inputs to the task's root; returns what the launcher tells of both sides."""
        place = f"{self._root}/{task.name}/{uuid.uuid4()}"
        types = {k: d["artifactType"] for k, d in task.declared.get("artifacts", {}).items()}
        artifacts = {
            key: {"name": key, "type": type_, "uri": f"{place}/{key}", "metadata": {}}
            for key, type_ in {**types, _LOGS: _LOGS_TYPE}.items()
        }
        parameters = task.declared.get("parameters", {})
        files = {key: root / "tmp" / "kfp" / "outputs" / key for key in parameters}
        output_file = local_place(root, place) / "executor_output.json"
        for artifact in task.inputs.values():
            download(artifact["uri"], self._store, root)
        for file in (output_file, *files.values()):
            file.parent.mkdir(parents=True, exist_ok=True)
        return {
            "inputs": {
                "parameterValues": dict(task.values),
                "artifacts": {k: {"artifacts": [a]} for k, a in task.inputs.items()},
            },
            "outputs": {
                "parameters": {k: {"outputFile": str(f)} for k, f in files.items()},
                "artifacts": {k: {"artifacts": [a]} for k, a in artifacts.items()},
                "outputFile": str(output_file),
            },
        }

    def _command(self, task: Task, executor_input: Spec, root: Path) -> Command:
        expanded(json.dumps(executor_input), self._run_id)  # is one of the launcher's words
        container = task.container
        words = [*container.get("command", ()), *container.get("args", ())]
        return Command(
            image=container["image"],
            words=tuple(self._filled(word, executor_input, root) for word in words),
            env={e["name"]: expanded(e["value"], self._run_id) for e in container.get("env", ())},
            root=root,
        )

    def _filled(self, text: str, executor_input: Spec, root: Path) -> str:
        """Returns a word of a command with its placeholders filled in."""

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
                return as_text(executor_input[side]["parameterValues"][key])
            except KeyError:
                raise ConfigError(f"{match.group()} names nothing that the task has.") from None

        return expanded(PLACEHOLDER.sub(fill, text), self._run_id)

    def _outputs(self, task: Task, expected: Spec, root: Path) -> Outputs:
        """Moves the outputs of a task that ended well to the store."""
        parameters = {
            key: _parameter(key, task.declared["parameters"][key]["parameterType"], Path(file))
            for key, place in expected["parameters"].items()
            for file in place.values()
        }
        artifacts = {
            key: listed["artifacts"][0]
            for key, listed in expected["artifacts"].items()
            if key != _LOGS
        }
        metadata = _metadata(Path(expected["outputFile"]))
        for key, artifact in artifacts.items():
            if not local_place(root, artifact["uri"]).exists():
                raise DataError(f"it ended well, but did not write its output {key!r}")
        for key, artifact in artifacts.items():
            upload(artifact["uri"], root, self._store)
            artifacts[key] = _registered({**artifact, "metadata": metadata.get(key, {})})
        return Outputs(parameters=parameters, artifacts=artifacts)


def expanded(word: str, workflow: str) -> str:
    """Returns a word of a command after Argo and Kubernetes.

    The names of the workflow are filled in, and `$$` is `$`.

    Raises:
      ConfigError: it is longer than Linux takes.
    """
    word = _ARGO.sub(workflow, word).replace("$$", "$")
    size = len(word.encode())
    if size > LONGEST:
        raise ConfigError(f"Argument list too long: a word has {size} bytes, above {LONGEST}.")
    return word


def check_words(task: Spec, component: Spec, container: Spec) -> None:
    """Refuses what the driver does.

    Raises:
      ConfigError: a part of the spec is longer than one word of a command.
    """
    for what, part in (("task", task), ("component", component), ("container", container)):
        if length(part) > LONGEST:
            raise ConfigError(
                f"failed to unmarshal {what} spec: it has {length(part)} bytes, above {LONGEST}"
            )


def as_text(value: Any) -> str:
    """Returns a parameter's value in place of a placeholder."""
    return value if isinstance(value, str) else json.dumps(value)


def _parameter(key: str, type_: str, file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return typed(key, type_, text if type_ == "STRING" else json.loads(text))
    except OSError:
        raise DataError(f"it ended well, but did not write its output parameter {key!r}") from None
    except (ValueError, ConfigError):
        raise DataError(f"its output parameter {key!r} is no {type_}") from None


def _metadata(file: Path) -> dict[str, Any]:
    """Returns what the task says of its output artifacts, by key; it need not say anything."""
    if not file.exists():
        return {}
    try:
        artifacts = read_json(file).get("artifacts", {})
        return {k: a["artifacts"][0].get("metadata", {}) for k, a in artifacts.items()}
    except (ValueError, KeyError, AttributeError, IndexError, TypeError):
        raise DataError("it wrote an executor_output.json that cannot be read") from None


def _registered(artifact: Spec) -> Spec:
    """Returns an output as the next tasks get it.

    It is under the number that MLMD gave it, with the launcher's own properties.
    """
    session = {"Provider": artifact["uri"].partition("://")[0], "Params": {"fromEnv": "true"}}
    launcher_s = {"display_name": artifact["name"], "store_session_info": json.dumps(session)}
    number = uuid.uuid4().int % 10**9
    return {**artifact, "name": str(number), "metadata": {**artifact["metadata"], **launcher_s}}


def _why(code: int, log: Path) -> str:
    """Returns an exit code, and the last words of the log."""
    lines = [t for t in without_times(log.read_text("utf-8", "replace")).splitlines() if t.strip()]
    own = next((t for t in reversed(lines) if t.startswith("visionline: ")), "")
    last = own.removeprefix("visionline: ") or (lines[-1] if lines else "it printed nothing")
    return f"exit code {code}: {last[:500]}"
