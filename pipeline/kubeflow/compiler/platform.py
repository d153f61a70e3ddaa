"""What a task asks of Kubernetes that a spec has no words for: `kfp-kubernetes`' own spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.kubeflow.config import AffinityConfig, PodConfig, VolumeConfig
from pipeline.kubeflow.spec import Spec


def executor_config(
    pod: PodConfig, volumes: Sequence[VolumeConfig], node_selector: Mapping[str, str]
) -> Spec:
    """Returns a KubernetesExecutorConfig as JSON; what is not asked for is not in it."""
    whole: Spec = {
        "nodeSelector": {"labels": dict(node_selector)} if node_selector else None,
        "pvcMount": [{"constant": v.claim, "mountPath": v.mount} for v in volumes],
        "secretAsEnv": _secret_env(pod.secret_env),
        "secretAsVolume": [
            {"secretName": secret, "mountPath": place, "optional": False}
            for place, secret in pod.secret_files.items()
        ],
        "imagePullSecret": [{"secretName": name} for name in pod.image_pull_secrets],
        "imagePullPolicy": pod.image_pull_policy,
        "tolerations": [{k: str(v) for k, v in t.fields().items()} for t in pod.tolerations],
        "nodeAffinity": _affinity(pod.affinity),
        "activeDeadlineSeconds": None if pod.timeout_seconds is None else str(pod.timeout_seconds),
        "enabledSharedMemory": (
            {"volumeName": "shm", "size": pod.shared_memory} if pod.shared_memory else None
        ),
        "podMetadata": _set(labels=pod.labels, annotations=pod.annotations),
        "securityContext": _set(
            runAsUser=None if pod.user is None else str(pod.user),
            runAsGroup=None if pod.group is None else str(pod.group),
        ),
    }
    return _set(**whole)


def _set(**values: Any) -> Spec:
    return {k: v for k, v in values.items() if v not in (None, {}, [], "")}


def _secret_env(places: Mapping[str, str]) -> list[Spec]:
    by_secret: dict[str, list[Spec]] = {}
    for variable, place in places.items():
        secret, _, key = place.partition("/")
        by_secret.setdefault(secret, []).append({"secretKey": key, "envVar": variable})
    return [
        {"secretName": secret, "keyToEnv": keys, "optional": False}
        for secret, keys in by_secret.items()
    ]


def _affinity(asked: Sequence[AffinityConfig]) -> list[Spec]:
    """Returns its terms: all that must hold are one, and each wish is its own.

    A node needs to fit one term alone.
    """
    needed = [_requirement(a) for a in asked if a.weight is None]
    wishes = [
        {"matchExpressions": [_requirement(a)], "weight": a.weight}
        for a in asked
        if a.weight is not None
    ]
    return [*([{"matchExpressions": needed}] if needed else []), *wishes]


def _requirement(asked: AffinityConfig) -> Spec:
    return _set(key=asked.key, operator=asked.operator, values=list(asked.values))
