"""Tables of [deploy]: how many pods there are, and who reaches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from common.config.ranges import between, require
from common.config.strict import Checked
from pipeline.kubernetes.config import Name

Mode = Literal["standard", "knative"]
METRICS: dict[Mode, tuple[str, ...]] = {
    "standard": ("cpu", "memory"),
    "knative": ("concurrency", "rps"),
}
"""What each mode's autoscaler watches; the first is its own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig(Checked):
    """When there are more pods than `min_replicas`."""

    metric: Literal["cpu", "memory", "concurrency", "rps"] | None = None
    """What is watched: cpu (the default) or memory in standard mode, concurrency (the default) or
    rps in knative mode."""
    target: Annotated[int, between(1, 10**6)] | None = None
    """Of each pod: of cpu and memory percent of what is set aside, of concurrency requests at a
    time, of rps requests a second. By default KServe's."""

    def check(self) -> None:
        require(
            self.metric is None or self.target is not None,
            f"target: expected one for metric = {self.metric!r}, got none.",
        )

    def chosen(self, mode: Mode) -> tuple[str, int] | None:
        """Returns the metric and its target; None: KServe's own."""
        if self.target is None:
            return None
        return self.metric or METRICS[mode][0], self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig(Checked):
    """Who reaches the pods, and whom they reach: a NetworkPolicy."""

    allow_from: tuple[Name, ...] = ()
    """Namespaces whose pods may ask, such as the gateway's. Makes a NetworkPolicy: from elsewhere
    nobody can, but the node for its probes. By default there is none."""
    outbound: bool | None = None
    """Whether pods may open connections. By default only where they copy the model from a
    bucket."""

    def check(self) -> None:
        require(
            self.outbound is None or bool(self.allow_from),
            "outbound: is a part of the NetworkPolicy, which allow_from makes; expected "
            "allow_from, too.",
        )
