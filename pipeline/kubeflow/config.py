"""What a cluster is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from components.mounts import MOUNTS
from trainers.config import require
from trainers.paths import check_folder

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]i?)?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesConfig:
    """Of the container of one component."""

    cpu: str | None = None
    """CPUs, requested and at most, such as "2" or "500m"."""
    memory: str | None = None
    """Such as "4Gi"."""
    gpu: int = 0
    """How many."""
    gpu_type: str = "nvidia.com/gpu"
    """The cluster's name for one."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels of the nodes it may run on, besides those for all."""

    def __post_init__(self) -> None:
        for key in ("cpu", "memory"):
            value = getattr(self, key)
            require(
                value is None or bool(_QUANTITY.fullmatch(value)),
                f'{key}: expected a quantity such as "2" or "4Gi", got {value!r}.',
            )
        require(self.gpu >= 0, f"gpu: expected 0 or more, got {self.gpu}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeConfig:
    """A PersistentVolumeClaim that every task sees."""

    claim: str
    mount: str
    """Where, an absolute path."""

    def __post_init__(self) -> None:
        require(
            bool(_NAME.fullmatch(self.claim)),
            f"claim: expected the name of a PersistentVolumeClaim, got {self.claim!r}.",
        )
        path = PurePosixPath(self.mount)
        require(
            path.is_absolute() and ".." not in path.parts and len(path.parts) > 1,
            f"mount: expected an absolute path, got {self.mount!r}.",
        )
        check_folder("mount", self.mount)
        require(
            ":" not in self.mount,
            f"mount: Kubernetes takes no path with ':', got {self.mount!r}. Mount it elsewhere.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeflowConfig:
    """How the pipeline runs on Kubeflow Pipelines; without effect elsewhere."""

    image: str | None = None
    """That every task runs in, see docs/containers.md."""
    pipeline_root: str | None = None
    """Where artifacts go: minio://, s3:// or gs://; by default what the cluster is set to."""
    retries: int = 0
    """How often a failed task is tried again."""
    volumes: tuple[VolumeConfig, ...] = ()
    """That every task sees, each a table with `claim`, a PersistentVolumeClaim, and `mount`."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels of the nodes that tasks may run on."""
    default: ResourcesConfig = field(default_factory=ResourcesConfig)
    """Of components that have no table of their own."""
    resources: dict[str, ResourcesConfig] = field(default_factory=dict)
    """By component, such as Trainer."""

    def __post_init__(self) -> None:
        root = self.pipeline_root
        if root is not None:
            scheme, separator, rest = root.partition("://")
            require(
                bool(separator) and scheme in MOUNTS and bool(rest.strip("/")),
                f"pipeline_root: expected {', '.join(f'{s}://BUCKET/FOLDER' for s in MOUNTS)}, "
                f"got {root!r}.",
            )
            check_folder("pipeline_root", f"/{rest}")
        require(self.retries >= 0, f"retries: expected 0 or more, got {self.retries}.")
        require(
            self.image is None or (bool(self.image) and not re.search(r"\s", self.image)),
            f"image: expected the name of an image, got {self.image!r}.",
        )

    def of(self, component: str) -> ResourcesConfig:
        return self.resources.get(component, self.default)

    def holds(self, path: str) -> bool:
        """Whether a path is on one of the volumes."""
        place = PurePosixPath(path)
        mounts = [PurePosixPath(v.mount) for v in self.volumes]
        return ".." not in place.parts and any(place.is_relative_to(m) for m in mounts)
