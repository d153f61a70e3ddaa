"""What protects a deployment, in objects of its own: NetworkPolicy and PodDisruptionBudget.

Both find the pods by the label that KServe puts on them, and carry the labels of the service.
"""

from __future__ import annotations

from typing import Any

from pipeline.deploy.config import DeployConfig

Values = dict[str, Any]


def policies(config: DeployConfig, service: Values) -> list[Values]:
    """Returns the objects besides the InferenceService, in the order in which they are submitted.

    They come before it, so that no pod is ever without them.  Each is harmless alone: without
    pods neither has an effect, and on pods that are there it is what the config asks for.

    Args:
      service: the InferenceService, rendered.
    """
    metadata = {k: v for k, v in service["metadata"].items() if k != "annotations"}
    selector = {"matchLabels": {"serving.kserve.io/inferenceservice": metadata["name"]}}
    objects = []
    if config.network.allow_from:
        objects.append(_network_policy(config, metadata, selector, service))
    if config.max_unavailable is not None:
        objects.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": metadata,
                "spec": {"maxUnavailable": config.max_unavailable, "selector": selector},
            }
        )
    return objects


def _network_policy(
    config: DeployConfig, metadata: Values, selector: Values, service: Values
) -> Values:
    predictor = service["spec"]["predictor"]
    server = predictor.get("model") or predictor["containers"][0]
    ports = [{"port": p["containerPort"], "protocol": "TCP"} for p in server["ports"]]
    peers = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in config.network.allow_from
    ]
    spec: Values = {
        "podSelector": selector,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": ports}],
    }
    if not config.may_open_connections:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": []}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }
