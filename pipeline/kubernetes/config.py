"""Config that deployments and the tasks of Kubeflow share: amounts, labels, secrets, taints."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from common.config.ranges import Rule, at_least, between, matching, require
from common.config.strict import Checked
from pipeline.kubernetes.grammar import (
    is_label_name,
    is_label_value,
    is_qualified_key,
    is_subdomain,
    quantity,
)

_NAME = "a name of lower-case letters, digits and -"
Name = Annotated[str, Rule(_NAME, is_label_name)]
Subdomain = Annotated[str, Rule(f"{_NAME}, with dots or without", is_subdomain)]
LabelKey = Annotated[str, Rule("a key that Kubernetes takes, such as a.org/b", is_qualified_key)]
LabelValue = Annotated[str, Rule("at most 63 letters, digits and -._", is_label_value)]
Labels = dict[LabelKey, LabelValue]
Secret = Annotated[str, Rule("the name of a Secret", is_subdomain)]
SecretKey = Annotated[str, matching(r"[-._a-zA-Z0-9]{1,253}", "letters, digits and -._")]


def worth(amount: str | int | float) -> Decimal:
    """Returns an amount in units, 0 for what is none; see `quantity`."""
    return quantity(str(amount)) or Decimal(0)


Cpu = Annotated[
    str | int | float,
    Rule("an amount as Kubernetes writes it, such as 500m or 2", lambda v: worth(v) > 0),
]
Bytes = Annotated[
    str,
    Rule("an amount as Kubernetes writes it, such as 512Mi or 2Gi", lambda v: worth(v) > 0),
    Rule(
        "bytes, such as 512Mi or 2Gi (in Kubernetes m is a thousandth of a byte; Mi and M are "
        "millions)",
        lambda v: v[-1] not in "num" and worth(v) >= 1,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesConfig(Checked):
    """What a container asks for, and may use."""

    cpu: Cpu | None = None
    """CPUs that are set aside, such as "500m" or 2; for a server 1 by default."""
    cpu_limit: Cpu | None = None
    """By default no more than `cpu`."""
    memory: Bytes | None = None
    """Memory that is set aside, such as "4Gi"; for a server by default what its limits and the
    model need, and 2Gi for TensorFlow Serving."""
    memory_limit: Bytes | None = None
    """By default no more than `memory`."""
    gpu: Annotated[int, between(0, 1024)] = 0
    """How many."""
    gpu_type: LabelKey = "nvidia.com/gpu"
    """The cluster's name for one."""

    def check(self) -> None:
        for key in ("cpu", "memory"):
            request, limit = getattr(self, key), getattr(self, f"{key}_limit")
            require(
                request is None or limit is None or worth(limit) >= worth(request),
                f"{key}_limit: expected at least {key} ({request}), got {limit}.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration(Checked):
    """A taint of nodes that pods may run on all the same."""

    key: LabelKey | Literal[""] = ""
    """Of the taint; empty: any."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Exists: with any value."""
    value: LabelValue = ""
    """Of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Not set: any."""
    seconds: Annotated[int, at_least(0)] | None = None
    """How long a pod stays after a NoExecute taint; not set: for good."""

    def check(self) -> None:
        require(
            bool(self.key) or self.operator == "Exists",
            "key: expected the key of a taint, or operator = 'Exists' for any.",
        )
        require(
            not self.value or self.operator == "Equal",
            f"value: expected the value of a taint, and none with 'Exists', got {self.value!r}.",
        )
        require(
            self.seconds is None or self.effect == "NoExecute",
            f"seconds: expected none, or some with effect = 'NoExecute', got {self.seconds}.",
        )

    def fields(self) -> dict[str, Any]:
        """Returns it as Kubernetes has it, without what is not set."""
        fields = {
            "key": self.key,
            "operator": self.operator,
            "value": self.value,
            "effect": self.effect,
            "tolerationSeconds": self.seconds,
        }
        return {k: v for k, v in fields.items() if v not in (None, "")}
