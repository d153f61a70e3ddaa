"""One task of a spec, and how Kubeflow Pipelines' schema has it written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.kubeflow import step as names
from pipeline.kubeflow.config import TaskResources
from pipeline.kubeflow.parts import PART, input_name, parts_of
from pipeline.kubeflow.spec import Spec
from pipeline.kubeflow.step import task_name
from pipeline.kubeflow.words import packed, unpacked

ARTIFACT = "system.Artifact"
_ENTRYPOINT = ["python", "-P", "-m", "pipeline.kubeflow.entrypoint"]
_TYPES = {"str": "STRING", "int": "NUMBER_INTEGER", "float": "NUMBER_DOUBLE"}
_BACKOFF = {
    "backoffDuration": "30s",
    "backoffFactor": 2.0,
    # Ten years. Argo counts from the first attempt's start, and makes this the deadline of
    # the others; without it, it does not try again at all.
    "backoffMaxDuration": "315360000s",
}


class Value(NamedTuple):
    """A parameter of a task: where it comes from, and its type."""

    source: Spec
    type: str


class Source(NamedTuple):
    """An artifact that a task takes from another."""

    task: str
    key: str
    type: str = ARTIFACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One container of a run."""

    name: str
    owner: str
    """What the config calls it, in its tables of resources and pods."""
    args: Sequence[str]
    """Of the entrypoint."""
    parameters: Mapping[str, Value]
    artifacts: Mapping[str, Source] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Types of the artifacts that it makes."""
    output_parameters: Sequence[str] = ()
    after: Sequence[str] = ()
    """Tasks that it waits for besides those that it takes something from."""
    cached: bool

    def component(self) -> Spec:
        """Returns what it takes and gives, by types."""
        return {
            "executorLabel": f"exec-{self.name}",
            **_definitions(
                "inputDefinitions",
                {k: value.type for k, value in self.parameters.items()},
                {k: source.type for k, source in self.artifacts.items()},
            ),
            **_definitions(
                "outputDefinitions", dict.fromkeys(self.output_parameters, "STRING"), self.outputs
            ),
        }

    def container(self, image: str, env: Mapping[str, str], resources: Spec) -> Spec:
        """Returns what runs."""
        variables = [{"name": k, "value": v} for k, v in sorted(env.items())]
        args = ["--release", names.RELEASE, *self.args, "--executor_input", "{{$}}"]
        optional = _filled(env=variables, resources=resources)
        return {"image": image, "command": list(_ENTRYPOINT), "args": args, **optional}

    def node(self, retries: int) -> Spec:
        """Returns its place in the graph: what it takes from where, and after which tasks."""
        before = {source.task for source in self.artifacts.values()} | {*self.after}
        before |= {
            value.source["taskOutputParameter"]["producerTask"]
            for value in self.parameters.values()
            if "taskOutputParameter" in value.source
        }
        artifacts = {
            key: {"taskOutputArtifact": {"producerTask": s.task, "outputArtifactKey": s.key}}
            for key, s in self.artifacts.items()
        }
        parameters = {key: value.source for key, value in self.parameters.items()}
        return {
            "taskInfo": {"name": self.name},
            "componentRef": {"name": f"comp-{self.name}"},
            "cachingOptions": {"enableCache": True} if self.cached else {},
            **_filled(
                dependentTasks=sorted(before),
                inputs=_filled(parameters=parameters, artifacts=artifacts),
                retryPolicy={"maxRetryCount": retries, **_BACKOFF} if retries else None,
            ),
        }

    def in_parts(self, owner: str) -> list[Task]:
        """Returns the task without what is too long for its parameters.

        Before it come tasks that hand that on.

        Args:
          owner: of those tasks.
        """
        parameters, artifacts = dict(self.parameters), dict(self.artifacts)
        tasks = []
        for key, value in self.parameters.items():
            text = value.source.get("runtimeValue", {}).get("constant")
            parts = parts_of(unpacked(text)) if isinstance(text, str) else []
            for number, part in enumerate(parts):
                task = Task(
                    name=task_name(f"{self.name}-{key}-{number}"),
                    owner=owner,
                    args=("--find", PART),
                    parameters={PART: constant(part)},
                    outputs={PART: ARTIFACT},
                    cached=True,
                )
                artifacts[input_name(key, number)] = Source(task.name, PART)
                tasks.append(task)
            if parts:
                del parameters[key]
        return [*tasks, dataclasses.replace(self, parameters=parameters, artifacts=artifacts)]


def constant(value: str | int | float) -> Value:
    """Returns a value that the spec holds."""
    text = packed(value) if isinstance(value, str) else value
    return Value({"runtimeValue": {"constant": text}}, _type(value))


def from_task(task: str, key: str) -> Value:
    """Returns a text that another task finds."""
    return Value(
        {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}, "STRING"
    )


def of_run(name: str, default: str | int | float) -> Value:
    """Returns a parameter of the run."""
    return Value({"componentInputParameter": name}, _type(default))


def definition(default: str | int | float) -> Spec:
    """Declares a parameter of the run."""
    text = packed(default) if isinstance(default, str) else default
    return {"parameterType": _type(default), "defaultValue": text, "isOptional": True}


def resources(asked: TaskResources) -> Spec:
    """Returns what a container asks for; nothing where nothing was asked."""
    amounts = {
        f"resource{name}{kind}": amount
        for name, request, limit in (
            ("Cpu", asked.cpu, asked.cpu_limit),
            ("Memory", asked.memory, asked.memory_limit),
        )
        for kind, amount in (("Request", request), ("Limit", request if limit is None else limit))
    }
    return _filled(
        **{key: amount and str(amount) for key, amount in amounts.items()},
        accelerator=asked.gpu and {"resourceType": asked.gpu_type, "resourceCount": str(asked.gpu)},
    )


def _type(value: str | int | float) -> str:
    return _TYPES[type(value).__name__]


def _definitions(key: str, parameters: Mapping[str, str], artifacts: Mapping[str, str]) -> Spec:
    types = _filled(
        parameters={k: {"parameterType": t} for k, t in parameters.items()},
        artifacts={
            k: {"artifactType": {"schemaTitle": t, "schemaVersion": "0.0.1"}}
            for k, t in artifacts.items()
        },
    )
    return _filled(**{key: types})


def _filled(**fields: Any) -> Spec:
    """Returns the fields that have a value."""
    return {key: value for key, value in fields.items() if value}
