"""A config as a spec of Kubeflow Pipelines, schema 2.1.

TFX's own compiler makes specs for Vertex, which the open-source backend takes in part.
This one takes TFX's IR, which every runner of ours starts from, and writes each node as
a container that runs `pipeline.kubeflow.entrypoint`.
"""

from __future__ import annotations

from pathlib import Path

from common.extras import require_kubeflow
from common.files import write_atomic
from common.yaml_text import to_yaml
from pipeline.config import PipelineConfig
from pipeline.kubeflow.compiler import platform
from pipeline.kubeflow.compiler.lengths import check_lengths
from pipeline.kubeflow.compiler.nodes import BASELINE, RESOLVE, defaults_of_run, tasks_of
from pipeline.kubeflow.compiler.refusals import refuse_what_clusters_lack
from pipeline.kubeflow.compiler.tasks import Task, definition, resources
from pipeline.kubeflow.spec import Spec
from pipeline.kubeflow.step import RELEASE, task_name

SCHEMA_VERSION = "2.1.0"
_LITTLE = {"resourceCpuRequest": "100m", "resourceMemoryRequest": "256Mi"}
"""For what lists a folder."""


def compile_pipeline(config: PipelineConfig, frozen_as: str | None = None) -> tuple[Spec, Spec]:
    """Returns the spec, and what it asks of Kubernetes besides.

    Args:
      frozen_as: the path of the frozen schema that is recorded; by default the config's.

    Raises:
      ConfigError: the config needs what a cluster lacks.
    """
    refuse_what_clusters_lack(config)
    tasks = tasks_of(config, frozen_as)
    return _spec(config, tasks), _platform(config, tasks)


def write_package(config: PipelineConfig, path: Path, frozen_as: str | None = None) -> None:
    """Writes the YAML that Kubeflow Pipelines takes.

    Args:
      frozen_as: see `compile_pipeline`.

    Raises:
      ConfigError: see `compile_pipeline`.
    """
    require_kubeflow()
    spec, asked = compile_pipeline(config, frozen_as)
    check(spec, asked)
    check_lengths(spec)
    text = to_yaml([spec, asked] if asked else [spec], sort_keys=True)
    write_atomic(path, (_comment(spec) + text).encode())


def check(spec: Spec, asked: Spec) -> None:
    """Holds what `compile_pipeline` returns against the protocol buffers that the backend parses.

    Raises:
      ParseError: a field is unknown or of another type.
    """
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    kubernetes = asked.get("platforms", {}).get("kubernetes", {})
    for executor in kubernetes.get("deploymentSpec", {}).get("executors", {}).values():
        json_format.ParseDict(executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())


def _comment(spec: Spec) -> str:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    lines = [f"#    {k}: [Default: {v['defaultValue']!r}]" for k, v in parameters.items()]
    head = ["# PIPELINE DEFINITION", f"# Name: {spec['pipelineInfo']['name']}", "# Inputs:"]
    return "\n".join([*head, *lines]) + "\n"


def _spec(config: PipelineConfig, tasks: list[Task]) -> Spec:
    cluster = config.kubeflow
    executors = {}
    for task in tasks:
        little = _asks_little(config, task.owner)
        asked = dict(_LITTLE) if little else resources(cluster.of(task.owner))
        container = task.container(str(cluster.image), cluster.pod_of(task.owner).env, asked)
        executors[f"exec-{task.name}"] = {"container": container}
    parameters = {name: definition(value) for name, value in defaults_of_run(config).items()}
    spec = {
        "components": {f"comp-{task.name}": task.component() for task in tasks},
        "deploymentSpec": {"executors": executors},
        "pipelineInfo": {"name": task_name(config.pipeline_name)},
        "root": {
            "dag": {"tasks": {task.name: task.node(cluster.retries) for task in tasks}},
            "inputDefinitions": {"parameters": parameters},
        },
        "schemaVersion": SCHEMA_VERSION,
        "sdkVersion": f"visionline-{RELEASE}",
    }
    return spec | ({"defaultPipelineRoot": cluster.pipeline_root} if cluster.pipeline_root else {})


def _platform(config: PipelineConfig, tasks: list[Task]) -> Spec:
    """Returns what the spec itself has no words for."""
    cluster = config.kubeflow
    executors = {}
    for task in tasks:
        own = {} if _asks_little(config, task.owner) else cluster.of(task.owner).node_selector
        labels = {**cluster.node_selector, **own}
        pod = cluster.pod_of(task.owner)
        if asked := platform.executor_config(pod, cluster.volumes, labels):
            executors[f"exec-{task.name}"] = asked
    if not executors:
        return {}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _asks_little(config: PipelineConfig, owner: str) -> bool:
    """Returns whether it is no component, and the config says nothing of it."""
    return owner in (RESOLVE, BASELINE) and owner not in config.kubeflow.resources
