"""What a cluster is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from common.config.ranges import require
from common.mounts import MOUNTS
from common.paths import check_folder
from pipeline.deploy.kubernetes import (
    is_label_name,
    is_label_value,
    is_qualified_key,
    is_subdomain,
    quantity,
)
from pipeline.deploy.pods import Toleration
from pipeline.kubeflow.words import is_plain

_LAUNCHER_S = ("/minio", "/s3", "/gcs", "/tmp", "/.local", "/.cache", "/.config", "/kfp-launcher")
"""Where Kubeflow's launcher mounts folders of its own into every task."""
_WHOLLY_ITS_OWN = ("/minio", "/s3", "/gcs", "/kfp-launcher", "/kfp-workspace")
"""Of those, and besides, where nothing below may be mounted either: artifacts lie there, and
a pod that asks for the workspace of Kubeflow waits for a claim that nobody makes."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_MOST_RETRIES = 100
_MOST_GPUS = 1024
_MOST_SECONDS = 2**31 - 1
"""Kubernetes' own bound of `activeDeadlineSeconds`."""


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
        _check_amount("cpu", self.cpu)
        _check_amount("memory", self.memory)
        require(0 <= self.gpu <= _MOST_GPUS, f"gpu: expected 0 to {_MOST_GPUS}, got {self.gpu}.")
        require(
            is_qualified_key(self.gpu_type),
            f'gpu_type: expected a name such as "nvidia.com/gpu", got {self.gpu_type!r}.',
        )
        _check_labels("node_selector", self.node_selector)


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinityConfig:
    """What is asked of a node's labels beyond equality."""

    key: str
    """A label of nodes."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: tuple[str, ...] = ()
    weight: int | None = None
    """1 to 100: a wish. Without, no other node is taken."""

    def __post_init__(self) -> None:
        require(is_qualified_key(self.key), f"key: expected a label's, got {self.key!r}.")
        for value in self.values:
            require(is_label_value(value), f"values: expected a label's, got {value!r}.")
        count = {"Exists": (0, 0), "DoesNotExist": (0, 0), "Gt": (1, 1), "Lt": (1, 1)}
        least, most = count.get(self.operator, (1, 1000))
        require(
            least <= len(self.values) <= most,
            f"values: {self.operator} takes {'one or more' if most > 1 else least}, "
            f"got {len(self.values)}.",
        )
        require(
            self.weight is None or 1 <= self.weight <= 100,
            f"weight: expected 1 to 100, got {self.weight}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodConfig:
    """What a task's pod has besides its command."""

    env: dict[str, str] = field(default_factory=dict)
    """Environment variables."""
    secret_env: dict[str, str] = field(default_factory=dict)
    """Environment variables from secrets, each as "SECRET/KEY"."""
    secret_files: dict[str, str] = field(default_factory=dict)
    """Secrets by the folder that their keys are files of."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets with the credentials of the image's registry."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is fetched; by default as Kubernetes decides."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that it may run in spite of."""
    affinity: tuple[AffinityConfig, ...] = ()
    """What is asked of a node's labels beyond equality."""
    timeout_seconds: int | None = None
    """After which an attempt is ended and has failed."""
    shared_memory: str | None = None
    """Of /dev/shm, such as "2Gi"; a pod has 64Mi by itself."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of the pod."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Of the pod."""
    user: int | None = None
    """The numeric user it runs as; by default the image's, 65532."""
    group: int | None = None
    """The numeric group it runs as; by default the image's."""
    service_account: str | None = None
    """Refused here: Kubeflow Pipelines gives one to a whole run, `submit --service-account`."""

    def __post_init__(self) -> None:
        require(
            self.service_account is None,
            "service_account: Kubeflow Pipelines has one for a whole run and none for a task. "
            "Name it with `visionline kubeflow submit --service-account`.",
        )
        self._check_environment()
        for place, secret in self.secret_files.items():
            check_mount("secret_files", place)
            _check_secret("secret_files", secret)
        for secret in self.image_pull_secrets:
            _check_secret("image_pull_secrets", secret)
        require(
            self.timeout_seconds is None or 1 <= self.timeout_seconds <= _MOST_SECONDS,
            f"timeout_seconds: expected 1 to {_MOST_SECONDS}, got {self.timeout_seconds}.",
        )
        _check_amount("shared_memory", self.shared_memory)
        _check_labels("labels", self.labels)
        for key, value in self.annotations.items():
            require(is_qualified_key(key), f"annotations: {key!r} is no key Kubernetes takes.")
            check_plain(f"annotations.{key}", value)
        for key in ("user", "group"):
            number = getattr(self, key)
            require(
                number is None or 0 <= number < 2**31,
                f"{key}: expected 0 to {2**31 - 1}, got {number}.",
            )

    def _check_environment(self) -> None:
        for table in ("env", "secret_env"):
            for name in getattr(self, table):
                require(
                    _VARIABLE.fullmatch(name) is not None,
                    f"{table}: expected letters, digits and _ for a variable, got {name!r}.",
                )
        for name, value in self.env.items():
            check_plain(f"env.{name}", value)
            require(
                name not in self.secret_env,
                f"env.{name}: stands in secret_env too. Leave one out.",
            )
        for name, place in self.secret_env.items():
            secret, _, key = place.partition("/")
            require(
                is_subdomain(secret) and _SECRET_KEY.fullmatch(key) is not None,
                f'secret_env.{name}: expected "SECRET/KEY", got {place!r}.',
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
class VolumeConfig:
    """A PersistentVolumeClaim that every task sees."""

    claim: str
    mount: str
    """Where, an absolute path."""

    def __post_init__(self) -> None:
        require(
            is_label_name(self.claim),
            "claim: expected the name of a PersistentVolumeClaim of at most 63 lower-case "
            "letters, digits and - (Kubeflow names the pod's volume after it, which takes no "
            f"dots), got {self.claim!r}.",
        )
        check_mount("mount", self.mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeflowConfig:
    """How the pipeline runs on Kubeflow Pipelines; without effect elsewhere."""

    image: str | None = None
    """Every task runs in this image, named by tag or digest, see docs/containers.md."""
    pipeline_root: str | None = None
    """Artifacts go there: minio://, s3:// or gs://; by default where the cluster is set to."""
    retries: int = 0
    """How often a task is tried again whose pod was lost. Kubeflow Pipelines tries one that
    failed no more, unless its Argo is set to: see docs/kubeflow.md."""
    volumes: tuple[VolumeConfig, ...] = ()
    """That every task sees, each a table with `claim`, a PersistentVolumeClaim, and `mount`."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels of the nodes that tasks may run on."""
    default: ResourcesConfig = field(default_factory=ResourcesConfig)
    """Of components that have no table of their own."""
    resources: dict[str, ResourcesConfig] = field(default_factory=dict)
    """By component, such as Trainer, or resolve-data and baseline, which ask for little."""
    pod: PodConfig = field(default_factory=PodConfig)
    """Of every task."""
    pods: dict[str, PodConfig] = field(default_factory=dict)
    """By component, on top of `pod`."""

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
            check_plain("pipeline_root", root)
        require(
            0 <= self.retries <= _MOST_RETRIES,
            f"retries: expected 0 to {_MOST_RETRIES}, got {self.retries}.",
        )
        require(
            self.image is None or (bool(self.image) and not re.search(r"\s", self.image)),
            f"image: expected the name of an image, got {self.image!r}.",
        )
        check_plain("image", self.image or "")
        _check_labels("node_selector", self.node_selector)
        self._check_volumes()

    def _check_volumes(self) -> None:
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

    def of(self, component: str) -> ResourcesConfig:
        return self.resources.get(component, self.default)

    def pod_of(self, component: str) -> PodConfig:
        return self.pods.get(component, PodConfig()).over(self.pod)

    def holds(self, path: str) -> bool:
        """Returns whether a path is on one of the volumes."""
        place = PurePosixPath(path)
        mounts = [PurePosixPath(v.mount) for v in self.volumes]
        return ".." not in place.parts and any(place.is_relative_to(m) for m in mounts)


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


def _check_amount(key: str, text: str | None) -> None:
    amount = None if text is None else quantity(text)
    whole = key == "cpu" or amount is None or amount >= 1
    require(
        text is None or (amount is not None and amount > 0 and whole),
        f"{key}: expected a quantity as Kubernetes writes it, such as "
        f"{'500m or 2' if key == 'cpu' else '512Mi or 4Gi'}, got {text!r}.",
    )


def _check_secret(key: str, name: str) -> None:
    require(is_subdomain(name), f"{key}: expected the name of a Secret, got {name!r}.")


def _check_labels(key: str, labels: dict[str, str]) -> None:
    for name, value in labels.items():
        require(is_qualified_key(name), f"{key}: {name!r} is no label that Kubernetes takes.")
        require(
            is_label_value(value),
            f"{key}.{name}: expected at most 63 letters, digits and -._, got {value!r}.",
        )
