"""A compiled pipeline read back, and the parts of it that can be run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from common.errors import ConfigError, nearest
from common.extras import require_kubeflow

Spec = dict[str, Any]
_PYTHON: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


@dataclass(frozen=True, slots=True)
class Package:
    """A YAML file of Kubeflow Pipelines."""

    spec: Spec
    volumes: dict[str, str]
    """Claims by where they are mounted."""

    @property
    def name(self) -> str:
        name: str = self.spec["pipelineInfo"]["name"]
        return name


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline.

    Raises:
      ConfigError: it is none of schema 2.1, or has what cannot be run here.
    """
    require_kubeflow()
    import yaml
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as e:
        raise ConfigError(f"Cannot read {path}: {e.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} is not YAML: {e}") from None
    if not documents or not isinstance(documents[0], dict) or "root" not in documents[0]:
        raise ConfigError(f"{path}: expected a pipeline that `visionline kubeflow compile` wrote.")
    spec = documents[0]
    version = str(spec.get("schemaVersion"))
    if not version.startswith("2.1"):
        raise ConfigError(f"{path}: expected schema version 2.1, got {version}.")
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as e:
        raise ConfigError(f"{path} is no PipelineSpec: {e}") from None
    _refuse(path, spec)
    return Package(spec, _volumes(documents[1:]))


def arguments(spec: Spec, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the run's parameters: those given, and the defaults of the others.

    Raises:
      ConfigError: one is unknown, missing or of another type.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in chosen:
        if name not in declared:
            raise ConfigError(
                f"The pipeline has no parameter {name!r}.{nearest(name, list(declared))}"
            )
    return completed(
        chosen, declared, "The pipeline's parameter {!r} has no default: give a value."
    )


def completed(
    values: Mapping[str, Any], declared: Mapping[str, Spec], missing: str
) -> dict[str, Any]:
    """Returns values with the defaults of others, each of the type that is declared.

    Args:
      missing: the error of one that has neither, with {} for its name.

    Raises:
      ConfigError: one is missing or of another type.
    """
    whole = dict(values)
    for name, definition in declared.items():
        if "defaultValue" in definition:
            whole.setdefault(name, definition["defaultValue"])
        if name in whole:
            whole[name] = typed(name, definition["parameterType"], whole[name])
        elif not definition.get("isOptional"):
            raise ConfigError(missing.format(name))
    return whole


def typed(name: str, type_: str, value: Any) -> Any:
    """Returns a value as a parameter's type has it.

    Raises:
      ConfigError: it is of another type.
    """
    if type_ == "NUMBER_INTEGER" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _PYTHON[type_]) or (
        isinstance(value, bool) and type_.startswith("NUMBER_")
    ):
        raise ConfigError(f"{name}: expected {type_}, got {value!r}.")
    return value


def ordered(tasks: Mapping[str, Spec]) -> list[str]:
    """Returns the tasks' names, each after those it depends on.

    Raises:
      ConfigError: they go in a circle.
    """
    before = {name: task.get("dependentTasks", ()) for name, task in sorted(tasks.items())}
    try:
        return [n for n in TopologicalSorter(before).static_order() if n in tasks]
    except CycleError as e:
        raise ConfigError(f"Tasks depend on each other in a circle: {e.args[1]}.") from None


def _refuse(path: Path, spec: Spec) -> None:
    for name, task in spec["root"]["dag"]["tasks"].items():
        lacking = [k for k in ("artifactIterator", "parameterIterator") if k in task]
        lacking += task.get("triggerPolicy", {})
        if lacking:
            raise ConfigError(f"{path}: the task {name} has a {lacking[0]}, which is not run here.")
        if "dag" in spec["components"][task["componentRef"]["name"]]:
            raise ConfigError(
                f"{path}: the task {name} is a pipeline of its own, which is not run here. "
                "Expected tasks that are containers, as `visionline kubeflow compile` writes them."
            )
    executors = spec["deploymentSpec"]["executors"]
    for component in spec["components"].values():
        if "container" not in executors.get(component.get("executorLabel", ""), {}):
            raise ConfigError(f"{path}: only tasks that are containers can be run here.")


def _volumes(documents: list[Any]) -> dict[str, str]:
    claims = {}
    for document in documents:
        kubernetes = (document or {}).get("platforms", {}).get("kubernetes", {})
        for executor in kubernetes.get("deploymentSpec", {}).get("executors", {}).values():
            for mount in executor.get("pvcMount", ()):
                claims[mount["mountPath"]] = mount["constant"]
    return claims
