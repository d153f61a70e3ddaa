"""What a deployment is told, from a TOML file's table [deploy] and flags."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from common.config import toml_file
from common.config.ranges import Rule, between, matching, require
from common.config.strict import Checked, parse
from common.errors import ConfigError, MissingKeyError
from pipeline.deploy.pods import METRICS, NetworkConfig, ScalingConfig
from pipeline.deploy.server import check_server, check_writable, server_config
from pipeline.deploy.storage import Storage, parse_storage
from pipeline.kubernetes.config import (
    LabelKey,
    Labels,
    LabelValue,
    Name,
    ResourcesConfig,
    Secret,
    SecretKey,
    Subdomain,
    Toleration,
)
from serving.config import ServeConfig

LONGEST_NAME = 53
"""KServe appends "-predictor", and the name of a Kubernetes service has 63 characters."""
OWN_PREFIXES = ("visionline/", "serving.kserve.io/", "app.kubernetes.io/")
"""Of labels and annotations that the manifest has anyway."""
_IMAGE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_SERVICE = matching(
    f"(?=.{{1,{LONGEST_NAME}}}$)[a-z]([-a-z0-9]*[a-z0-9])?",
    f"at most {LONGEST_NAME} lower-case letters, digits and -, the first a letter and the last "
    "no -",
)
_OwnKey = Annotated[
    LabelKey,
    Rule(
        "a key that neither visionline nor KServe writes",
        lambda key: not key.startswith(OWN_PREFIXES),
    ),
]
_Image = Annotated[str, Rule("NAME:TAG", lambda v: _IMAGE.fullmatch(v) is not None)]
_Release = Annotated[
    str, matching(r"\d[A-Za-z0-9_.-]{0,127}", "the tag of tensorflow/serving, such as 2.19.1")
]
_Id = Annotated[int, between(1, 2**31 - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployConfig(Checked):
    """Everything about one InferenceService, and what protects it, but the model."""

    storage: str
    """The cluster finds the serving folder there: s3://…, gs://… or pvc://CLAIM/FOLDER."""
    runtime: Literal["visionline", "tensorflow"] = "visionline"
    """The model is served by this project's server, or by KServe's TensorFlow Serving."""
    image: _Image | None = None
    """This project's server comes from this image; it needs one."""
    runtime_version: _Release | None = None
    """TensorFlow Serving comes from the image with this tag; by default that of the release that
    belongs to the installed TensorFlow, with -gpu for GPUs."""
    version: Annotated[int, between(1, 10**12 - 1)] | None = None
    """This version alone is served. By default, on a claim, it is the latest, also when a newer
    one is pushed; on s3 and gs the latest of the local serving folder."""
    service: Annotated[str, _SERVICE] | None = None
    """The InferenceService, and the model in requests, is called so; by default after the model."""
    namespace: Name | None = None
    """The InferenceService is made in this namespace; by default where kubectl is set to."""
    mode: Literal["standard", "knative"] = "standard"
    """KServe makes Deployments (standard), or Knative services, which take canaries and need no
    pods without requests."""
    protocol: Literal["http", "grpc"] = "http"
    """The address that KServe gives out speaks this; in knative mode the other one cannot be
    reached."""
    canary_percent: Annotated[int, between(0, 100)] | None = None
    """This revision gets so many percent of the traffic; the rest stays with the one before."""
    min_replicas: Annotated[int, between(0, 1000)] = 1
    """So many pods run at least; 0 in knative mode alone."""
    max_replicas: Annotated[int, between(1, 1000)] | None = None
    """So many pods run at most; by default 1, or `min_replicas` where that is more."""
    startup_seconds: Annotated[int, between(10, 3600)] = 300
    """For the process to answer; then it is started again."""
    service_account: Subdomain | None = None
    """Whose credentials the storage is read with."""
    service_account_token: bool = False
    """Whether pods get a token for the cluster's own API. Neither the servers nor KServe's
    storage initializer ask it."""
    token_secret: Secret | None = None
    """A Secret with the bearer token that clients must send."""
    token_key: SecretKey = "token"
    """The token's key in that Secret."""
    control_token_secret: Secret | None = None
    """A Secret with the bearer token of who may load and unload; without, nobody may."""
    control_token_key: SecretKey = "token"
    """The control token's key in that Secret."""
    pre_stop_seconds: Annotated[int, between(0, 600)] = 5
    """How long a pod that is to go answers on, while its address is taken away; not in knative
    mode, which sees to that itself."""
    user: _Id = 1000
    """The numeric user the server runs as; never 0."""
    fs_group: _Id | None = None
    """The numeric group that owns the files of mounted volumes, and that the server is in."""
    read_only_root: bool = True
    """Whether the container's own files are read-only. Folders that the server writes to are
    mounted, empty, for the life of the pod."""
    node_selector: Labels = field(default_factory=dict)
    """Labels of the nodes that pods run on."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that pods run on all the same; tables with key, operator, value, effect and
    seconds."""
    max_unavailable: Annotated[int, between(1, 1000)] | None = None
    """Pods that may be taken away at a time when nodes are drained: makes a PodDisruptionBudget,
    which with 0 would keep them from it. By default there is none."""
    labels: dict[_OwnKey, LabelValue] = field(default_factory=dict)
    """Besides those that visionline writes."""
    annotations: dict[_OwnKey, str] = field(default_factory=dict)
    """Besides those that visionline writes."""
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    server: dict[str, Any] = field(default_factory=dict)
    """Any key of the server's own config, such as limits.images."""

    def check(self) -> None:
        parse_storage(self.storage)
        self._check_runtime()
        check_server(self.server)
        if self.read_only_root:
            check_writable(self.served)
        self._check_scaling()
        self._check_network()
        require(
            self.min_replicas <= self.replicas_at_most,
            f"max_replicas: expected min_replicas ({self.min_replicas}) or more, "
            f"got {self.max_replicas}.",
        )
        require(
            self.min_replicas > 0 or self.mode == "knative",
            "min_replicas: expected 1 or more in standard mode, which does not scale to 0, "
            f"got {self.min_replicas}.",
        )
        require(
            self.canary_percent is None or self.mode == "knative",
            "canary_percent: KServe splits traffic in knative mode alone; expected "
            f"mode = 'knative', got {self.mode!r}.",
        )

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

    @property
    def serving_tag(self) -> str:
        """Of tensorflow/serving."""
        if self.runtime_version is not None:
            return self.runtime_version
        # Released with the images, of the same sources and under the same version.
        release = importlib.metadata.version("tensorflow-serving-api")
        return f"{release}-gpu" if self.resources.gpu else release

    @property
    def may_open_connections(self) -> bool:
        """Whether a NetworkPolicy lets pods ask others."""
        outbound = self.network.outbound
        return not self.place.is_claim if outbound is None else outbound

    def _check_runtime(self) -> None:
        if self.runtime == "visionline":
            require(
                self.image is not None,
                "image: expected the image of visionline's server, such as "
                "registry.example.com/visionline-serving:0.1.0 (--image).",
            )
            self._only_for("tensorflow", "runtime_version")
            return
        self._only_for("visionline", "image", "token_secret", "control_token_secret")
        require(
            not self.server,
            "server: is for runtime = 'visionline', and this is 'tensorflow'; leave it out.",
        )
        tag = self.serving_tag
        with_gpu = tag.endswith("-gpu")
        require(
            with_gpu == (self.resources.gpu > 0),
            f"runtime_version: expected a tag {'with' if self.resources.gpu else 'without'} -gpu "
            f"for resources.gpu = {self.resources.gpu}, got {tag!r}.",
        )

    def _check_scaling(self) -> None:
        metric = self.scaling.metric
        require(
            metric is None or metric in METRICS[self.mode],
            f"scaling.metric: expected {' or '.join(METRICS[self.mode])} in {self.mode} mode, "
            f"got {metric!r}.",
        )
        chosen = self.scaling.chosen(self.mode)
        require(
            chosen is None or chosen[0] not in METRICS["standard"] or chosen[1] <= 100,
            f"scaling.target: expected 1 to 100 percent, got {self.scaling.target}.",
        )
        require(
            chosen is None or self.replicas_at_most > self.min_replicas,
            "scaling.target: expected max_replicas above min_replicas "
            f"({self.min_replicas}), got {self.replicas_at_most}: nothing would be scaled.",
        )

    def _check_network(self) -> None:
        require(
            not self.network.allow_from or self.mode == "standard",
            "network.allow_from: in knative mode requests come through Knative's own activator, "
            "gateway and queue-proxy, in namespaces and on ports that are the cluster's, and its "
            "autoscaler asks the pods, too: a policy of the service alone would cut them off. "
            "Expected mode = 'standard', or a policy of the cluster's.",
        )
        require(
            self.place.is_claim or self.network.outbound is not False,
            f"network.outbound: expected true or nothing, got false: the pods copy {self.storage} "
            "themselves when they start.",
        )

    def _only_for(self, runtime: str, *keys: str) -> None:
        for key in keys:
            require(
                getattr(self, key) is None,
                f"{key}: is for runtime = {runtime!r}, and this is {self.runtime!r}; leave it out.",
            )

    @property
    def warnings(self) -> list[str]:
        """What works and is likely to be regretted."""
        warned = []
        image = _IMAGE.fullmatch(self.image or "")
        if image and not image["digest"] and image["tag"] in (None, "latest"):
            warned.append(
                f"image: {self.image} is whatever was pushed last: pods of one revision can "
                "differ. Name a version or a digest."
            )
        if self.mode == "knative" and (flags := self._knative_flags()):
            warned.append(
                "mode: Knative takes this only with features that are off by default, in "
                f"config-features: {', '.join(flags)}."
            )
        return warned

    def _knative_flags(self) -> list[str]:
        """Knative's feature flags that the manifest needs."""
        needed = {
            "init-containers": not self.place.is_claim,
            "persistent-volume-claim": self.place.is_claim,
            "securitycontext": self.fs_group is not None,
            "nodeselector": bool(self.node_selector),
            "tolerations": bool(self.tolerations),
        }
        return [f"kubernetes.podspec-{flag}" for flag, is_needed in needed.items() if is_needed]


def check_service(name: str) -> str:
    """Refuses what KServe refuses as the name of an InferenceService."""
    _SERVICE.check(name, "service")
    return name


def service_name(model: str) -> str:
    """Returns a model's name as an InferenceService can have it: digits-keras-v2.

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
