"""What a deployment is told, from a TOML file's table [deploy] and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pipeline.deploy.kubernetes import (
    is_label_name,
    is_label_value,
    is_qualified_key,
    is_subdomain,
    quantity,
)
from pipeline.deploy.server import check_server, server_config
from pipeline.deploy.storage import Storage, parse_storage
from serving.config import ServeConfig
from trainers import toml_file
from trainers.config import require
from trainers.errors import ConfigError
from trainers.strict import MissingKeyError, parse

LONGEST_NAME = 53
"""KServe appends "-predictor", and the name of a Kubernetes service has 63 characters."""
OWN_PREFIXES = ("visionline/", "serving.kserve.io/", "app.kubernetes.io/")
"""Of labels and annotations that the manifest has anyway."""
_IMAGE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesConfig:
    """What a pod asks for, and may use."""

    cpu: str | int | float = "1"
    """CPUs that are set aside, such as "500m" or 2."""
    cpu_limit: str | int | float | None = None
    """By default no more than `cpu`."""
    memory: str | None = None
    """Memory that is set aside; by default what the server's limits and the model need, and
    2Gi for TensorFlow Serving."""
    memory_limit: str | None = None
    """By default no more than `memory`."""
    gpu: int = 0
    """NVIDIA GPUs."""

    def __post_init__(self) -> None:
        for key in ("cpu", "memory"):
            request, limit = self._amount(key), self._amount(f"{key}_limit")
            require(
                request is None or limit is None or limit >= request,
                f"{key}_limit: expected at least {key} ({getattr(self, key)}), "
                f"got {getattr(self, f'{key}_limit')}.",
            )
        require(0 <= self.gpu <= 64, f"gpu: expected 0 to 64, got {self.gpu}.")

    def _amount(self, key: str) -> Any:
        text = getattr(self, key)
        if text is None:
            return None
        text = str(text)
        found = quantity(text)
        example = "500m or 2" if key.startswith("cpu") else "512Mi or 2Gi"
        require(
            found is not None and found > 0,
            f"{key}: expected an amount as Kubernetes writes it, such as {example}, got {text!r}.",
        )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployConfig:
    """Everything about one InferenceService but the model."""

    storage: str
    """The serving folder as the cluster sees it: s3://…, gs://… or pvc://CLAIM/FOLDER."""
    runtime: Literal["visionline", "tensorflow"] = "visionline"
    """This project's server, or KServe's TensorFlow Serving."""
    image: str | None = None
    """Of this project's server; required for it."""
    runtime_version: str | None = None
    """The tag of tensorflow/serving; required for it."""
    version: int | None = None
    """The one version that is served. By default, on a claim, the latest, also when a newer one
    is pushed; on s3 and gs the latest of the local serving folder."""
    service: str | None = None
    """Of the InferenceService, and of the model in requests; by default from the model's name."""
    namespace: str | None = None
    """By default the one that kubectl is set to."""
    mode: Literal["standard", "knative"] = "standard"
    """standard: Deployments. knative: also canaries, and no pods without requests."""
    protocol: Literal["http", "grpc"] = "http"
    """Of the address KServe gives out. In knative mode the other one cannot be reached."""
    canary_percent: int | None = None
    """Share of the traffic for this revision; the rest stays with the one before."""
    min_replicas: int = 1
    """Pods at least; 0 in knative mode alone."""
    max_replicas: int | None = None
    """By default 1, or `min_replicas` where that is more."""
    startup_seconds: int = 300
    """For the process to answer; then it is started again."""
    service_account: str | None = None
    """Whose credentials the storage is read with."""
    token_secret: str | None = None
    """A Secret with the bearer token that clients must send."""
    token_key: str = "token"
    """The token's key in that Secret."""
    control_token_secret: str | None = None
    """A Secret with the bearer token of who may load and unload; without, nobody may."""
    control_token_key: str = "token"
    """The control token's key in that Secret."""
    pre_stop_seconds: int = 5
    """How long a pod that is to go answers on, while its address is taken away; not in knative
    mode, which sees to that itself."""
    user: int = 1000
    """The numeric user the server runs as; never 0."""
    labels: dict[str, str] = field(default_factory=dict)
    """Besides those that visionline writes."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Besides those that visionline writes."""
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    server: dict[str, Any] = field(default_factory=dict)
    """Any key of the server's own config, such as limits.images."""

    def __post_init__(self) -> None:
        self._check_names()
        self._check_runtime()
        check_server(self.server)
        require(
            0 <= self.pre_stop_seconds <= 600,
            f"pre_stop_seconds: expected 0 to 600, got {self.pre_stop_seconds}.",
        )
        require(
            self.version is None or 1 <= self.version < 10**12,
            f"version: expected 1 or more, got {self.version}.",
        )
        require(
            0 <= self.min_replicas <= self.replicas_at_most <= 1000,
            "max_replicas: expected min_replicas "
            f"({self.min_replicas}, at least 0) to 1000, got {self.max_replicas}.",
        )
        require(
            self.replicas_at_most >= 1,
            f"max_replicas: expected 1 or more, got {self.max_replicas}.",
        )
        require(
            self.min_replicas > 0 or self.mode == "knative",
            "min_replicas: expected 1 or more in standard mode, which does not scale to 0, "
            f"got {self.min_replicas}.",
        )
        require(
            10 <= self.startup_seconds <= 3600,
            f"startup_seconds: expected 10 to 3600, got {self.startup_seconds}.",
        )
        self._check_canary()
        require(1 <= self.user < 2**31, f"user: expected 1 to 2147483647, got {self.user}.")

    @property
    def place(self) -> Storage:
        return parse_storage(self.storage)

    @property
    def served(self) -> ServeConfig:
        """What the server in the pod is told."""
        return server_config(self.server)

    @property
    def replicas_at_most(self) -> int:
        return max(1, self.min_replicas) if self.max_replicas is None else self.max_replicas

    def _check_names(self) -> None:
        parse_storage(self.storage)
        if self.service is not None:
            check_service(self.service)
        for key, valid in (
            ("namespace", is_label_name),
            ("service_account", is_subdomain),
            ("token_secret", is_subdomain),
            ("control_token_secret", is_subdomain),
        ):
            value = getattr(self, key)
            require(
                value is None or valid(value),
                f"{key}: expected a name of lower-case letters, digits and -, got {value!r}.",
            )
        for key in ("token_key", "control_token_key"):
            value = getattr(self, key)
            require(
                re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", value) is not None,
                f"{key}: expected letters, digits and -._, got {value!r}.",
            )
        for table in ("labels", "annotations"):
            for key, value in getattr(self, table).items():
                require(is_qualified_key(key), f"{table}: {key!r} is no key that Kubernetes takes.")
                require(
                    not key.startswith(OWN_PREFIXES),
                    f"{table}: {key!r} is written by visionline or KServe; choose another key.",
                )
                require(
                    table == "annotations" or is_label_value(value),
                    f"labels.{key}: expected at most 63 letters, digits and -._, got {value!r}.",
                )

    def _check_runtime(self) -> None:
        if self.runtime == "visionline":
            require(
                self.image is not None,
                "image: expected the image of visionline's server, such as "
                "registry.example.com/visionline-serving:0.1.0 (--image).",
            )
            found = _IMAGE.fullmatch(self.image or "")
            require(found is not None, f"image: expected NAME:TAG, got {self.image!r}.")
            self._only_for("tensorflow", "runtime_version")
            return
        self._only_for("visionline", "image", "token_secret", "control_token_secret")
        require(
            not self.server,
            "server: is for runtime = 'visionline', and this is 'tensorflow'; leave it out.",
        )
        tag = self.runtime_version
        require(
            tag is not None and re.fullmatch(r"\d[A-Za-z0-9_.-]{0,127}", tag) is not None,
            "runtime_version: expected the tag of tensorflow/serving, such as 2.19.1 "
            f"(--runtime-version), got {tag!r}. KServe's own default may be too old to "
            "load what a newer TensorFlow saved.",
        )
        with_gpu = str(tag).endswith("-gpu")
        require(
            with_gpu == (self.resources.gpu > 0),
            f"runtime_version: expected a tag {'with' if self.resources.gpu else 'without'} -gpu "
            f"for resources.gpu = {self.resources.gpu}, got {tag!r}.",
        )

    def _only_for(self, runtime: str, *keys: str) -> None:
        for key in keys:
            require(
                getattr(self, key) is None,
                f"{key}: is for runtime = {runtime!r}, and this is {self.runtime!r}; leave it out.",
            )

    def _check_canary(self) -> None:
        percent = self.canary_percent
        if percent is None:
            return
        require(0 <= percent <= 100, f"canary_percent: expected 0 to 100, got {percent}.")
        require(
            self.mode == "knative",
            "canary_percent: KServe splits traffic in knative mode alone; expected "
            f"mode = 'knative', got {self.mode!r}.",
        )

    @property
    def warnings(self) -> list[str]:
        """What works and is likely to be regretted."""
        found = _IMAGE.fullmatch(self.image or "")
        if found and not found["digest"] and found["tag"] in (None, "latest"):
            return [
                f"image: {self.image} is whatever was pushed last: pods of one revision can "
                "differ. Name a version or a digest."
            ]
        return []


def check_service(name: str) -> str:
    """Refuses what KServe refuses as the name of an InferenceService."""
    require(
        re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) is not None and len(name) <= LONGEST_NAME,
        f"service: expected at most {LONGEST_NAME} lower-case letters, digits and -, the first a "
        f"letter and the last no -, got {name!r}.",
    )
    return name


def service_name(model: str) -> str:
    """A model's name as an InferenceService can have it: digits_Keras.v2 is digits-keras-v2.

    Raises:
      ConfigError: nothing that can be used is left, or it is too long.
    """
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    try:
        return check_service(name)
    except ConfigError:
        raise ConfigError(
            f"service: {model!r} makes no name of an InferenceService, which has at most "
            f"{LONGEST_NAME} lower-case letters, digits and - and begins with a letter. "
            "Name one with --service."
        ) from None


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> DeployConfig:
    """Reads the table [deploy] of a TOML file and lays flags over it.

    Raises:
      ConfigError: for anything that cannot be used.
    """
    data = toml_file.read(path)
    toml_file.overlay(data, {f"deploy.{k}": v for k, v in overrides.items()})
    if unknown := sorted(data.keys() - {"deploy"}):
        raise ConfigError(f"{path}: expected the table [deploy] alone, got {unknown[0]} too.")
    table = data.get("deploy", {})
    if not isinstance(table, dict):
        raise ConfigError(f"deploy: expected a table, got {table!r}.")
    for key in table:
        if key in {f.name for f in fields(ServeConfig)}:
            raise ConfigError(f"deploy.{key} is a key of the server: deploy.server.{key}.")
    try:
        return parse(DeployConfig, table, "deploy.")
    except MissingKeyError:
        raise ConfigError(
            "deploy.storage: say where the cluster finds the serving folder: --storage "
            "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or pvc://CLAIM/FOLDER."
        ) from None
