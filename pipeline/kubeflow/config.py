"""What a cluster is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from common.config.ranges import By, Rule, between, matching, require
from common.config.strict import Checked
from common.mounts import MOUNTS
from common.paths import check_folder
from pipeline.kubeflow.words import is_plain
from pipeline.kubernetes.config import (
    Bytes,
    LabelKey,
    Labels,
    LabelValue,
    ResourcesConfig,
    Secret,
    Toleration,
)
from pipeline.kubernetes.grammar import is_label_name, is_subdomain

_LAUNCHER_S = ("/minio", "/s3", "/gcs", "/tmp", "/.local", "/.cache", "/.config", "/kfp-launcher")
"""Where Kubeflow's launcher mounts folders of its own into every task."""
_WHOLLY_ITS_OWN = ("/minio", "/s3", "/gcs", "/kfp-launcher", "/kfp-workspace")
"""Of those, and besides, where nothing below may be mounted either: artifacts lie there, and
a pod that asks for the workspace of Kubeflow waits for a claim that nobody makes."""


def check_plain(key: str, text: str) -> None:
    """Refuses what Argo or Kubernetes would change on its way to the pod."""
    require(
        is_plain(text),
        f"{key}: expected a text without $ and {{{{, which Argo and Kubernetes expand, "
        f"got {text!r}.",
    )


def check_mount(key: str, path: str) -> None:
    """Refuses a place in the container at which nothing of ours may be mounted."""
    place = PurePosixPath(path)
    require(
        place.is_absolute() and ".." not in place.parts and len(place.parts) > 1,
        f"{key}: expected an absolute path, got {path!r}.",
    )
    check_folder(key, path)
    check_plain(key, path)
    require(
        ":" not in path,
        f"{key}: Kubernetes takes no path with ':', got {path!r}. Mount it elsewhere.",
    )
    taken = next((p for p in _LAUNCHER_S if place == PurePosixPath(p)), None)
    taken = taken or next((p for p in _WHOLLY_ITS_OWN if place.is_relative_to(p)), None)
    require(
        taken is None,
        f"{key}: {taken} is Kubeflow's own in every task, got {path!r}. Mount it elsewhere, "
        "such as at /mnt/visionline.",
    )


def _check_root(key: str, root: str) -> None:
    scheme, separator, rest = root.partition("://")
    require(
        bool(separator) and scheme in MOUNTS and bool(rest.strip("/")),
        f"{key}: expected {', '.join(f'{s}://BUCKET/FOLDER' for s in MOUNTS)}, got {root!r}.",
    )
    check_folder(key, f"/{rest}")
    check_plain(key, root)


def _names_a_secret(place: str) -> bool:
    secret, _, key = place.partition("/")
    return is_subdomain(secret) and re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) is not None


Plain = Annotated[str, By(check_plain)]
Mount = Annotated[str, By(check_mount)]
_Variable = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and _ for a variable")
]
_Id = Annotated[int, between(0, 2**31 - 1)]
_Claim = Annotated[
    str,
    Rule(
        "the name of a PersistentVolumeClaim of at most 63 lower-case letters, digits and - "
        "(Kubeflow names the pod's volume after it, which takes no dots)",
        is_label_name,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResources(ResourcesConfig):
    """What the container of one component asks for, and on which nodes."""

    node_selector: Labels = field(default_factory=dict)
    """Labels of the nodes it may run on, besides those for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinityConfig(Checked):
    """What is asked of a node's labels beyond equality."""

    key: LabelKey
    """A label of nodes."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: tuple[LabelValue, ...] = ()
    weight: Annotated[int, between(1, 100)] | None = None
    """1 to 100: a wish. Without, no other node is taken."""

    def check(self) -> None:
        count = {"Exists": (0, 0), "DoesNotExist": (0, 0), "Gt": (1, 1), "Lt": (1, 1)}
        least, most = count.get(self.operator, (1, 1000))
        require(
            least <= len(self.values) <= most,
            f"values: {self.operator} takes {'one or more' if most > 1 else least}, "
            f"got {len(self.values)}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodConfig(Checked):
    """What a task's pod has besides its command."""

    env: dict[_Variable, Plain] = field(default_factory=dict)
    """Environment variables."""
    secret_env: dict[_Variable, Annotated[str, Rule('"SECRET/KEY"', _names_a_secret)]] = field(
        default_factory=dict
    )
    """Environment variables from secrets, each as "SECRET/KEY"."""
    secret_files: dict[Mount, Secret] = field(default_factory=dict)
    """Secrets by the folder that their keys are files of."""
    image_pull_secrets: tuple[Secret, ...] = ()
    """Secrets with the credentials of the image's registry."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is fetched; by default as Kubernetes decides."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that it may run in spite of."""
    affinity: tuple[AffinityConfig, ...] = ()
    """What is asked of a node's labels beyond equality."""
    timeout_seconds: Annotated[int, between(1, 2**31 - 1)] | None = None
    """After which an attempt is ended and has failed."""
    shared_memory: Bytes | None = None
    """Of /dev/shm, such as "2Gi"; a pod has 64Mi by itself."""
    labels: Labels = field(default_factory=dict)
    """Of the pod."""
    annotations: dict[LabelKey, Plain] = field(default_factory=dict)
    """Of the pod."""
    user: _Id | None = None
    """The numeric user it runs as; by default the image's, 65532."""
    group: _Id | None = None
    """The numeric group it runs as; by default the image's."""
    service_account: str | None = None
    """Refused here: Kubeflow Pipelines gives one to a whole run, `submit --service-account`."""

    def check(self) -> None:
        require(
            self.service_account is None,
            "service_account: Kubeflow Pipelines has one for a whole run and none for a task. "
            "Name it with `visionline kubeflow submit --service-account`.",
        )
        for name in self.env:
            require(
                name not in self.secret_env,
                f"env.{name}: stands in secret_env too. Leave one out.",
            )

    def over(self, other: PodConfig) -> PodConfig:
        """Returns this on top of another: tables and lists add up, other keys go before."""
        both: dict[str, Any] = {}
        for key in self.__slots__:
            mine, theirs = getattr(self, key), getattr(other, key)
            if isinstance(mine, dict):
                both[key] = {**theirs, **mine}
            elif isinstance(mine, tuple):
                both[key] = tuple(dict.fromkeys(theirs + mine)) if key[0] == "i" else theirs + mine
            else:
                both[key] = theirs if mine is None else mine
        return PodConfig(**both)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeConfig(Checked):
    """A PersistentVolumeClaim that every task sees."""

    claim: _Claim
    mount: Mount
    """Where, an absolute path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeflowConfig(Checked):
    """How the pipeline runs on Kubeflow Pipelines; without effect elsewhere."""

    image: Annotated[str, matching(r"\S+", "the name of an image"), By(check_plain)] | None = None
    """Every task runs in this image, named by tag or digest, see docs/containers.md."""
    pipeline_root: Annotated[str, By(_check_root)] | None = None
    """Artifacts go there: minio://, s3:// or gs://; by default where the cluster is set to."""
    retries: Annotated[int, between(0, 100)] = 0
    """How often a task is tried again whose pod was lost. Kubeflow Pipelines tries one that
    failed no more, unless its Argo is set to: see docs/kubeflow.md."""
    volumes: tuple[VolumeConfig, ...] = ()
    """That every task sees, each a table with `claim`, a PersistentVolumeClaim, and `mount`."""
    node_selector: Labels = field(default_factory=dict)
    """Labels of the nodes that tasks may run on."""
    default: TaskResources = field(default_factory=TaskResources)
    """Of components that have no table of their own."""
    resources: dict[str, TaskResources] = field(default_factory=dict)
    """By component, such as Trainer, or resolve-data and baseline, which ask for little."""
    pod: PodConfig = field(default_factory=PodConfig)
    """Of every task."""
    pods: dict[str, PodConfig] = field(default_factory=dict)
    """By component, on top of `pod`."""

    def check(self) -> None:
        mounts = [str(PurePosixPath(v.mount)) for v in self.volumes]
        for key, named in (("claim", [v.claim for v in self.volumes]), ("mount", mounts)):
            for value in named:
                require(
                    named.count(value) == 1,
                    f"volumes: expected each {key} once, got {value!r} {named.count(value)} "
                    "times. A pod cannot have it twice; mount the claim once, further up.",
                )
        for pod in (self.pod, *self.pods.values()):
            for place in pod.secret_files:
                require(
                    str(PurePosixPath(place)) not in mounts,
                    f"secret_files: {place!r} is where a volume is mounted. Choose another folder.",
                )

    def of(self, component: str) -> TaskResources:
        return self.resources.get(component, self.default)

    def pod_of(self, component: str) -> PodConfig:
        return self.pods.get(component, PodConfig()).over(self.pod)

    def holds(self, path: str) -> bool:
        """Returns whether a path is on one of the volumes."""
        place = PurePosixPath(path)
        mounts = [PurePosixPath(v.mount) for v in self.volumes]
        return ".." not in place.parts and any(place.is_relative_to(m) for m in mounts)
