"""How much memory a pod is given."""

from __future__ import annotations

from pipeline.deploy.config import DeployConfig
from pipeline.deploy.model import Model
from pipeline.kubernetes.config import worth
from serving.memory import memory_bytes

_TENSORFLOW = "2Gi"
_MIB = 2**20


def memory(config: DeployConfig, model: Model) -> tuple[str, str]:
    """Returns the request and the limit, as Kubernetes writes them."""
    asked = config.resources
    needed = f"{_needed_mib(config, model)}Mi"
    if config.runtime == "tensorflow":
        needed = _TENSORFLOW
    request = asked.memory or needed
    if asked.memory is None and asked.memory_limit and worth(asked.memory_limit) < worth(needed):
        request = asked.memory_limit
    return request, asked.memory_limit or request


def warnings(config: DeployConfig, model: Model) -> list[str]:
    """Returns where the server's limits let in more than the pod has memory for."""
    if config.runtime == "tensorflow":
        return []
    needed, (_, limit) = _needed_mib(config, model), memory(config, model)
    sentences = []
    if worth(limit) < needed * _MIB:
        sentences.append(
            f"resources: the pod has {limit} of memory, and the server may take {needed}Mi by its "
            "limits: under load it would be killed. Give it more, or lower deploy.server.limits."
        )
    if model.size is None:
        sentences.append(
            f"resources: {needed}Mi is for the server's limits alone; the model cannot be read "
            "here (--serving), and needs memory besides."
        )
    return sentences


def _needed_mib(config: DeployConfig, model: Model) -> int:
    return -(-memory_bytes(config.served.limits, model.size or 0) // _MIB)
