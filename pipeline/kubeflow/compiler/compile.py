"""A config as a spec of Kubeflow Pipelines, schema 2.1.

TFX's own compiler makes specs for Vertex, which the open-source backend takes in part.
This one takes TFX's IR, which every runner of ours starts from, and writes each node as
a container that runs `pipeline.kubeflow.entrypoint`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config.strict import dump
from common.errors import ConfigError, nearest
from common.extras import require_kubeflow
from common.paths import check_folder
from common.yaml_text import to_yaml
from pipeline import beam_args
from pipeline.config import PipelineConfig
from pipeline.kubeflow import step as names
from pipeline.kubeflow.compiler import platform
from pipeline.kubeflow.compiler.lengths import check_lengths
from pipeline.kubeflow.config import ResourcesConfig
from pipeline.kubeflow.parts import PART, input_name, parts_of
from pipeline.kubeflow.step import Step
from pipeline.kubeflow.words import packed, unpacked

Spec = dict[str, Any]
SCHEMA_VERSION = "2.1.0"
_ENTRYPOINT = ["python", "-P", "-m", "pipeline.kubeflow.entrypoint"]
_TYPES = {"str": "STRING", "int": "NUMBER_INTEGER", "float": "NUMBER_DOUBLE"}
_SHOWN = {
    "Trainer": {names.METRICS: "system.Metrics", names.REPORT: "system.HTML"},
    "Evaluator": {names.METRICS: "system.Metrics", names.REPORT: "system.HTML"},
}
"""Outputs that the UI draws."""
_SYSTEM_TYPES = {
    "Model": "system.Model",
    "PushedModel": "system.Model",
    "Examples": "system.Dataset",
}
_RESOLVE = "resolve-data"
_BASELINE = "baseline"
_LITTLE = {"resourceCpuRequest": "100m", "resourceMemoryRequest": "256Mi"}
"""For what lists a folder."""
_LONGEST_NAME = 63
"""Of a pipeline: Argo labels its pods with it."""
_FOR_EVER = "315360000s"
"""Ten years.  Argo counts from the first attempt's start, and makes this the deadline of
the others; without it, it does not try again at all."""


def compile_pipeline(config: PipelineConfig, frozen_as: str | None = None) -> tuple[Spec, Spec]:
    """Returns the spec, and what it asks of Kubernetes besides.

    Args:
      frozen_as: the path of the frozen schema that is recorded; by default the config's.

    Raises:
      ConfigError: the config needs what a cluster lacks.
    """
    _refuse(config)
    with tempfile.TemporaryDirectory() as scratch:
        compiled = _Compiled(config, _ir(config, scratch), scratch, frozen_as)
        return compiled.spec(), compiled.platform()


def write_package(config: PipelineConfig, path: Path, frozen_as: str | None = None) -> None:
    """Writes the YAML that Kubeflow Pipelines takes.

    Args:
      frozen_as: see `compile_pipeline`.

    Raises:
      ConfigError: see `compile_pipeline`.
    """
    from common.files import write_atomic

    require_kubeflow()
    spec, asked = compile_pipeline(config, frozen_as)
    check(spec)
    platform.check(asked)
    check_lengths(spec)
    text = to_yaml([spec, asked] if asked else [spec], sort_keys=True)
    write_atomic(path, (_comment(spec) + text).encode())


def check(spec: Spec) -> None:
    """Holds a spec against the protocol buffer that the backend parses.

    Raises:
      ParseError: a field is unknown or of another type.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())


def _comment(spec: Spec) -> str:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    lines = [f"#    {k}: [Default: {v['defaultValue']!r}]" for k, v in parameters.items()]
    head = ["# PIPELINE DEFINITION", f"# Name: {spec['pipelineInfo']['name']}", "# Inputs:"]
    return "\n".join([*head, *lines]) + "\n"


def _refuse(config: PipelineConfig) -> None:
    cluster = config.kubeflow
    if not cluster.image:
        raise ConfigError(
            "Which image? Every task runs in one: --image, or image in [kubeflow]; "
            "docker/build.sh builds it, see docs/containers.md."
        )
    if not 1 <= len(task_name(config.pipeline_name)) <= _LONGEST_NAME:
        raise ConfigError(
            f"pipeline: expected a name that makes 1 to {_LONGEST_NAME} lower-case letters, "
            f"digits and - for Kubeflow Pipelines, got {config.pipeline_name!r}, which makes "
            f"{task_name(config.pipeline_name)!r}. Name it with pipeline, or name."
        )
    if beam_args.workers_elsewhere(config.run.beam_args):
        raise ConfigError(
            "run.beam_args: a task sees its inputs and outputs in its own container, where "
            "Beam's workers elsewhere cannot read them. Expected the direct runner, such as "
            "--direct_running_mode=multi_processing, or --environment_type=LOOPBACK."
        )
    if not config.push.destination:
        raise ConfigError(
            "push.destination: expected a folder on a volume. The default lies in the "
            "container, and what is pushed would go with it."
        )
    check_folder("push.destination", config.push.destination)
    places = {
        "data.path": config.data.path,
        "push.destination": config.push.destination,
        "train.pretrained": config.train.pretrained,
    }
    for key, path in places.items():
        if path is not None and not cluster.holds(path):
            raise ConfigError(
                f"{key}: expected a path on a volume, since containers see no other folders, "
                f"got {path!r}. Volumes are listed in [[kubeflow.volumes]], each with its claim "
                "and mount; "
                + (
                    f"now: {', '.join(v.mount for v in cluster.volumes)}."
                    if cluster.volumes
                    else "now there is none."
                )
            )


def _ir(config: PipelineConfig, scratch: str) -> Spec:
    """TFX's IR as JSON; what belongs to a workspace lies in `scratch`."""
    from google.protobuf import json_format
    from tfx.dsl.compiler import compiler

    from lineage.store.workspace import Workspace
    from pipeline.dag import create_pipeline

    pipeline = create_pipeline(config, Workspace(Path(scratch)))
    known = [c.id for c in pipeline.components]
    known += [_RESOLVE, _BASELINE]
    for table in ("resources", "pods"):
        for name in getattr(config.kubeflow, table):
            if name not in known:
                raise ConfigError(
                    f"kubeflow.{table}.{name}: there is no such component.{nearest(name, known)}"
                )
    ir: Spec = json_format.MessageToDict(compiler.Compiler().compile(pipeline))
    return ir


class _Compiled:
    def __init__(
        self, config: PipelineConfig, ir: Spec, scratch: str, frozen_as: str | None
    ) -> None:
        from pipeline.dag import BASELINE_NODE

        self._config = config
        self._scratch = scratch
        self._frozen_as = frozen_as
        self._baseline_node = BASELINE_NODE
        self._deployment = ir["deploymentConfig"]
        self._nodes: dict[str, Spec] = {
            n["pipelineNode"]["nodeInfo"]["id"]: n["pipelineNode"] for n in ir["nodes"]
        }
        self._tasks: dict[str, Spec] = {}
        self._components: dict[str, Spec] = {}
        self._executors: dict[str, Spec] = {}
        self._owner: dict[str, str] = {}
        """The node whose resources a task has."""

    def spec(self) -> Spec:
        self._add_resolve_data()
        for id_, node in self._nodes.items():
            if id_ == self._baseline_node:
                self._add_baseline(node)
            else:
                self._add_node(id_, node)
        root = {"dag": {"tasks": self._tasks}, "inputDefinitions": {"parameters": self._run()}}
        spec: Spec = {
            "components": self._components,
            "deploymentSpec": {"executors": self._executors},
            "pipelineInfo": {"name": task_name(self._config.pipeline_name)},
            "root": root,
            "schemaVersion": SCHEMA_VERSION,
            "sdkVersion": f"visionline-{names.RELEASE}",
        }
        if self._config.kubeflow.pipeline_root:
            spec["defaultPipelineRoot"] = self._config.kubeflow.pipeline_root
        return spec

    def platform(self) -> Spec:
        """What the spec itself has no words for."""
        cluster = self._config.kubeflow
        executors = {}
        for task, owner in self._owner.items():
            labels = {**cluster.node_selector, **self._resources(owner).node_selector}
            pod = cluster.pod_of(owner)
            if asked := platform.executor_config(pod, cluster.volumes, labels):
                executors[f"exec-{task}"] = asked
        if not executors:
            return {}
        return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}

    def _run(self) -> Spec:
        """The run's parameters, with what the config says as defaults."""
        plain = dump(self._config)
        defaults = {name: plain[table][key] for name, (table, key) in names.PARAMETERS.items()}
        return {
            name: {
                "parameterType": _TYPES[type(value).__name__],
                "defaultValue": packed(value) if isinstance(value, str) else value,
                "isOptional": True,
            }
            for name, value in defaults.items()
        }

    def _add_resolve_data(self) -> None:
        (owner,) = (id_ for id_, used in names.OVERRIDES.items() if "data_path" in used)
        self._add(
            _RESOLVE,
            _RESOLVE,
            ["--find", "data"],
            parameters={
                "config": _constant(self._properties(owner)["config"]),
                "destination": _constant(str(self._config.push.destination)),
            },
            run_parameters=("data_path",),
            output_parameters=(names.RESOLVED,),
            cached=False,
        )

    def _add_baseline(self, node: Spec) -> None:
        producer, key = next(
            (channel["producerNodeQuery"]["id"], channel["outputKey"])
            for spec in node["inputs"]["inputs"].values()
            for channel in spec.get("channels", ())
            if "producerNodeQuery" in channel
        )
        self._add(
            _BASELINE,
            _BASELINE,
            ["--find", "baseline"],
            parameters={
                "destination": _constant(str(self._config.push.destination)),
                "name": _constant(self._config.name),
            },
            run_parameters=("baseline",),
            inputs={"candidate": (producer, key)},
            output_parameters=(names.BASELINE,),
            cached=False,
        )

    def _add_node(self, id_: str, node: Spec) -> None:
        executor = self._deployment["executorSpecs"].get(id_)
        if executor is None or "container" in executor["@type"].lower():
            raise ConfigError(
                f"{id_} ({node['nodeInfo']['type']['name']}) has no executor that a container "
                "of Kubeflow Pipelines can run. Expected components with a Python executor."
            )
        if node.get("inputs", {}).get("conditionals"):
            raise ConfigError(
                f"{id_}: conditions on artifacts cannot be compiled for Kubeflow Pipelines."
            )
        properties = self._properties(id_)
        parameters = {k: _constant(v) for k, v in properties.items()}
        inputs: dict[str, tuple[str, str]] = {}
        for key, spec in node.get("inputs", {}).get("inputs", {}).items():
            (channel,) = spec["channels"]
            producer = channel["producerNodeQuery"]["id"]
            if producer == self._baseline_node:
                parameters[names.BASELINE] = _from_task(_BASELINE, names.BASELINE)
            else:
                inputs[key] = (producer, channel["outputKey"])
        if id_ in names.OVERRIDES and "data_path" in names.OVERRIDES[id_]:
            parameters[names.RESOLVED] = _from_task(_RESOLVE, names.RESOLVED)
        run_parameters = names.OVERRIDES.get(id_, ())
        if id_ == "Pusher":  # never cached, so it alone may know the whole config
            parameters[names.CONFIG] = _constant(json.dumps(self._recorded(), sort_keys=True))
            run_parameters = tuple(names.PARAMETERS)
        step = Step(
            pipeline=self._config.pipeline_name,
            node={k: node[k] for k in ("nodeInfo", "contexts", "outputs") if k in node},
            executor=executor,
            properties={k: type(v).__name__ for k, v in properties.items()},
        )
        self._add(
            task_name(id_),
            id_,
            ["--step", packed(json.dumps(dump(step), sort_keys=True))],
            parameters=parameters,
            run_parameters=run_parameters,
            inputs=inputs,
            outputs={
                **{
                    key: _SYSTEM_TYPES.get(out["artifactSpec"]["type"]["name"], "system.Artifact")
                    for key, out in node.get("outputs", {}).get("outputs", {}).items()
                },
                **_SHOWN.get(id_, {}),
                names.LINEAGE: "system.Artifact",
            },
            after=[u for u in node.get("upstreamNodes", ()) if u != self._baseline_node],
            cached=id_ != "Pusher",
        )

    def _recorded(self) -> Spec:
        """The config as the run's record has it."""
        config: Spec = dump(self._config)
        config["schema"]["frozen"] = self._frozen_as or config["schema"]["frozen"]
        return config

    def _properties(self, id_: str) -> dict[str, str | int | float]:
        found: dict[str, str | int | float] = {}
        parameters = self._nodes[id_].get("parameters", {}).get("parameters", {})
        for key, parameter in parameters.items():
            ((kind, value),) = parameter["fieldValue"].items()
            if key == "schema_file":
                found[names.SCHEMA_TEXT] = Path(value).read_text(encoding="utf-8")
            elif kind == "intValue":
                found[key] = int(value)
            elif kind == "stringValue":
                found[key] = value.replace(self._scratch, names.WORKSPACE)
            else:
                found[key] = value
        return found

    def _add(
        self,
        task: str,
        owner: str,
        args: list[str],
        *,
        parameters: Mapping[str, Spec],
        run_parameters: tuple[str, ...] = (),
        inputs: Mapping[str, tuple[str, str]] | None = None,
        outputs: Mapping[str, str] | None = None,
        output_parameters: tuple[str, ...] = (),
        after: list[str] | None = None,
        cached: bool,
    ) -> None:
        given = {**parameters, **{p: {"componentInputParameter": p} for p in run_parameters}}
        artifacts = dict(inputs or {})
        parts = self._add_parts(task, given)
        if outputs is not None and args[0] == "--step":
            producers = {p for p, _ in artifacts.values()}
            if not cached:  # the last: its record is that of the whole run
                producers |= self._components_before(owner)
            for producer in sorted(producers):
                artifacts[f"{names.LINEAGE}_{producer}"] = (producer, names.LINEAGE)
        artifacts |= parts
        run = self._run()
        types = {
            **{k: _parameter_type(v) for k, v in parameters.items() if k in given},
            **{p: run[p]["parameterType"] for p in run_parameters},
        }
        self._components[f"comp-{task}"] = {
            "executorLabel": f"exec-{task}",
            **_definitions(
                "inputDefinitions",
                {k: {"parameterType": t} for k, t in types.items()},
                {k: _artifact(self._type(*source)) for k, source in artifacts.items()},
            ),
            **_definitions(
                "outputDefinitions",
                {k: {"parameterType": "STRING"} for k in output_parameters},
                {k: _artifact(t) for k, t in (outputs or {}).items()},
            ),
        }
        self._executors[f"exec-{task}"] = {
            "container": {
                "image": self._config.kubeflow.image,
                "command": list(_ENTRYPOINT),
                "args": ["--release", names.RELEASE, *args, "--executor_input", "{{$}}"],
                **_environment(self._config.kubeflow.pod_of(owner).env),
                **({"resources": asked} if (asked := self._asked(owner)) else {}),
            }
        }
        self._owner[task] = owner
        before = {task_name(p) for p, _ in artifacts.values()} | {task_name(a) for a in after or ()}
        before |= {
            v["taskOutputParameter"]["producerTask"]
            for v in given.values()
            if "taskOutputParameter" in v
        }
        retries = self._config.kubeflow.retries
        self._tasks[task] = {
            "taskInfo": {"name": task},
            "componentRef": {"name": f"comp-{task}"},
            "cachingOptions": {"enableCache": True} if cached else {},
            **({"dependentTasks": sorted(before)} if before else {}),
            **_inputs(given, artifacts),
            **({"retryPolicy": _retry(retries)} if retries else {}),
        }

    def _add_parts(self, task: str, given: dict[str, Spec]) -> dict[str, tuple[str, str]]:
        """Takes what is too long out of a task's parameters; returns the inputs instead."""
        found: dict[str, tuple[str, str]] = {}
        for key, value in list(given.items()):
            text = value.get("runtimeValue", {}).get("constant")
            parts = parts_of(unpacked(text)) if isinstance(text, str) and key != PART else []
            for number, part in enumerate(parts):
                name = task_name(f"{task}-{key}-{number}")
                self._add(
                    name,
                    _RESOLVE,
                    ["--find", PART],
                    parameters={PART: _constant(part)},
                    outputs={PART: "system.Artifact"},
                    cached=True,
                )
                found[input_name(key, number)] = (name, PART)
            if parts:
                del given[key]
        return found

    def _resources(self, owner: str) -> ResourcesConfig:
        """What the config says of a component, or of a task that has none."""
        cluster = self._config.kubeflow
        if owner in (_RESOLVE, _BASELINE):
            return cluster.resources.get(owner, ResourcesConfig())
        return cluster.of(owner)

    def _asked(self, owner: str) -> Spec:
        alone = owner in (_RESOLVE, _BASELINE) and owner not in self._config.kubeflow.resources
        return dict(_LITTLE) if alone else _resources(self._resources(owner))

    def _components_before(self, id_: str) -> set[str]:
        return {n for n in self._nodes if n not in (id_, self._baseline_node)}

    def _type(self, producer: str, key: str) -> str:
        if key == names.LINEAGE or producer not in self._nodes:
            return "system.Artifact"
        type_ = self._nodes[producer]["outputs"]["outputs"][key]["artifactSpec"]["type"]["name"]
        return _SYSTEM_TYPES.get(type_, "system.Artifact")


def task_name(id_: str) -> str:
    """`ImageExampleGen` as Kubernetes writes it, `image-example-gen`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", id_)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _constant(value: str | int | float) -> Spec:
    return {"runtimeValue": {"constant": packed(value) if isinstance(value, str) else value}}


def _from_task(task: str, key: str) -> Spec:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}


def _parameter_type(value: Spec) -> str:
    constant = value.get("runtimeValue", {}).get("constant", "")
    return _TYPES[type(constant).__name__]


def _artifact(type_: str) -> Spec:
    return {"artifactType": {"schemaTitle": type_, "schemaVersion": "0.0.1"}}


def _definitions(key: str, parameters: Spec, artifacts: Spec) -> Spec:
    found = {
        **({"parameters": parameters} if parameters else {}),
        **({"artifacts": artifacts} if artifacts else {}),
    }
    return {key: found} if found else {}


def _inputs(parameters: Mapping[str, Spec], artifacts: Mapping[str, tuple[str, str]]) -> Spec:
    found = {
        **({"parameters": dict(parameters)} if parameters else {}),
        **(
            {
                "artifacts": {
                    key: {
                        "taskOutputArtifact": {
                            "producerTask": task_name(producer),
                            "outputArtifactKey": output,
                        }
                    }
                    for key, (producer, output) in artifacts.items()
                }
            }
            if artifacts
            else {}
        ),
    }
    return {"inputs": found} if found else {}


def _retry(count: int) -> Spec:
    return {
        "maxRetryCount": count,
        "backoffDuration": "30s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": _FOR_EVER,
    }


def _resources(asked: ResourcesConfig) -> Spec:
    found: Spec = {}
    if asked.cpu is not None:
        found |= {"resourceCpuRequest": asked.cpu, "resourceCpuLimit": asked.cpu}
    if asked.memory is not None:
        found |= {"resourceMemoryRequest": asked.memory, "resourceMemoryLimit": asked.memory}
    if asked.gpu:
        found["accelerator"] = {"resourceType": asked.gpu_type, "resourceCount": str(asked.gpu)}
    return found


def _environment(variables: Mapping[str, str]) -> Spec:
    found = [{"name": k, "value": v} for k, v in sorted(variables.items())]
    return {"env": found} if found else {}
