"""What of a config no cluster can run, with the remedy."""

from __future__ import annotations

from common.errors import ConfigError
from common.paths import check_folder
from pipeline import beam_args
from pipeline.config import PipelineConfig
from pipeline.kubeflow.step import task_name

_LONGEST_NAME = 63
"""Of a pipeline: Argo labels its pods with it."""


def refuse_what_clusters_lack(config: PipelineConfig) -> None:
    """Checks a config before anything is compiled.

    Raises:
      ConfigError: it needs what a cluster lacks, or does not say what a cluster needs.
    """
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
        "data.class_names": names if isinstance(names := config.data.class_names, str) else None,
        "push.destination": config.push.destination,
        "train.pretrained": config.train.pretrained,
        "train.distillation.model": config.train.distillation.model,
    }
    for key, path in places.items():
        if path is not None and not cluster.holds(path):
            mounts = ", ".join(v.mount for v in cluster.volumes)
            raise ConfigError(
                f"{key}: expected a path on a volume, since containers see no other folders, "
                f"got {path!r}. Volumes are listed in [[kubeflow.volumes]], each with its claim "
                f"and mount; {f'now: {mounts}.' if mounts else 'now there is none.'}"
            )
