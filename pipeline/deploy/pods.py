"""Tables of [deploy]: what pods ask for, where they run, how many there are, who reaches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from common.config.ranges import require
from pipeline.deploy.kubernetes import is_label_name, is_label_value, is_qualified_key, quantity

Mode = Literal["standard", "knative"]
METRICS: dict[Mode, tuple[str, ...]] = {
    "standard": ("cpu", "memory"),
    "knative": ("concurrency", "rps"),
}
"""What each mode's autoscaler watches; the first is its own default."""


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
        is_cpu = key.startswith("cpu")
        require(
            found is not None and found > 0,
            f"{key}: expected an amount as Kubernetes writes it, such as "
            f"{'500m or 2' if is_cpu else '512Mi or 2Gi'}, got {text!r}.",
        )
        require(
            is_cpu or text[-1] not in "num",
            f"{key}: expected bytes, such as 512Mi or 2Gi, got {text!r}: in Kubernetes m is a "
            "thousandth of a byte; Mi and M are millions.",
        )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig:
    """When there are more pods than `min_replicas`."""

    metric: Literal["cpu", "memory", "concurrency", "rps"] | None = None
    """What is watched: cpu (the default) or memory in standard mode, concurrency (the default) or
    rps in knative mode."""
    target: int | None = None
    """Of each pod: of cpu and memory percent of what is set aside, of concurrency requests at a
    time, of rps requests a second. By default KServe's."""

    def __post_init__(self) -> None:
        require(
            self.metric is None or self.target is not None,
            f"target: expected one for metric = {self.metric!r}, got none.",
        )
        require(
            self.target is None or 1 <= self.target <= 10**6,
            f"target: expected 1 to 1000000, got {self.target}.",
        )

    def chosen(self, mode: Mode) -> tuple[str, int] | None:
        """The metric and its target; None: KServe's own."""
        if self.target is None:
            return None
        return self.metric or METRICS[mode][0], self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """A taint of nodes that pods may run on all the same."""

    key: str = ""
    """Of the taint; empty: any."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Exists: with any value."""
    value: str = ""
    """Of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Not set: any."""
    seconds: int | None = None
    """How long a pod stays after a NoExecute taint; not set: for good."""

    def __post_init__(self) -> None:
        require(
            not self.key or is_qualified_key(self.key),
            f"key: {self.key!r} is no key that Kubernetes takes.",
        )
        require(
            bool(self.key) or self.operator == "Exists",
            "key: expected the key of a taint, or operator = 'Exists' for any.",
        )
        require(
            is_label_value(self.value) and not (self.value and self.operator == "Exists"),
            f"value: expected the value of a taint, and none with 'Exists', got {self.value!r}.",
        )
        require(
            self.seconds is None or (self.effect == "NoExecute" and self.seconds >= 0),
            f"seconds: expected 0 or more, with effect = 'NoExecute', got {self.seconds}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Who reaches the pods, and whom they reach: a NetworkPolicy."""

    allow_from: tuple[str, ...] = ()
    """Namespaces whose pods may ask, such as the gateway's. Makes a NetworkPolicy: from elsewhere
    nobody can, but the node for its probes. By default there is none."""
    outbound: bool | None = None
    """Whether pods may open connections. By default only where they copy the model from a
    bucket."""

    def __post_init__(self) -> None:
        for name in self.allow_from:
            require(
                is_label_name(name),
                f"allow_from: expected names of namespaces, got {name!r}.",
            )
        require(
            self.outbound is None or bool(self.allow_from),
            "outbound: is a part of the NetworkPolicy, which allow_from makes; expected "
            "allow_from, too.",
        )
