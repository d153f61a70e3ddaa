"""The InferenceService of a deployment, as plain values.

The version that is served lies at `/mnt/models/<service>/<version>/` for visionline's server and
at `/mnt/models/<version>/` for TensorFlow Serving, each as the server expects its folders.
"""

from __future__ import annotations

from typing import Any

from common.config.ranges import require
from pipeline.deploy.config import DeployConfig, service_name
from pipeline.deploy.memory import memory
from pipeline.deploy.model import Model
from pipeline.deploy.server import (
    GRPC,
    HTTP,
    MODELS,
    TMP,
    arguments,
    check_models,
    grace_seconds,
    writable_folders,
)
from pipeline.kubernetes.config import ResourcesConfig, worth
from serving.auth import CONTROL_ENVIRONMENT, ENVIRONMENT

Values = dict[str, Any]
API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
_VOLUME = "models"
_TF_HTTP, _TF_GRPC = 8080, 9000
"""Fixed by the arguments of KServe's ServingRuntime kserve-tensorflow-serving."""
_PROBE_SECONDS = 5
_TF_GRACE_SECONDS = 30
"""Kubernetes' own, which the wait before SIGTERM comes on top of."""


def render(config: DeployConfig, model: Model) -> Values:
    """Builds the manifest.

    Raises:
      ConfigError: the model's name cannot be used, or names together are too long.
    """
    service = config.service or service_name(model.name)
    _check_lengths(config, model, service)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": service,
            **({} if config.namespace is None else {"namespace": config.namespace}),
            "labels": _labels(config, model, service),
            "annotations": _annotations(config, model),
        },
        "spec": {"predictor": _predictor(config, model, service)},
    }


def _check_lengths(config: DeployConfig, model: Model, service: str) -> None:
    host = f"{service}-predictor-{config.namespace or 'default'}"
    require(
        len(host) <= 63,
        f"service: {service!r} is too long for the namespace {config.namespace!r}: a host name "
        f"has {host!r} in it, of which at most 63 characters are allowed. Name a shorter one "
        "with --service.",
    )
    # KServe names the volume after the path.
    volume = _mount_path(config, model, service).strip("/").replace("/", "-")
    require(
        len(volume) <= 63,
        f"service: {service!r} is too long for version {model.version}. Name a shorter one with "
        "--service.",
    )


def _labels(config: DeployConfig, model: Model, service: str) -> dict[str, str]:
    own = {
        "app.kubernetes.io/name": service,
        "app.kubernetes.io/part-of": "visionline",
        "app.kubernetes.io/managed-by": "visionline",
    }
    if model.version is not None:
        own["visionline/version"] = str(model.version)
    return {**own, **config.labels}


def _annotations(config: DeployConfig, model: Model) -> dict[str, str]:
    own = {
        "serving.kserve.io/deploymentMode": config.mode.capitalize(),
        "visionline/model": model.name,
    }
    if (manifest := model.manifest) is not None:
        own |= {
            "visionline/run": manifest.run_id,
            "visionline/framework": manifest.framework,
            "visionline/architecture": manifest.architecture,
            "visionline/pushed-at": manifest.pushed_at,
        }
        if manifest.rolled_back_to is not None:
            own["visionline/rolled-back-to"] = str(manifest.rolled_back_to)
    return {**own, **config.annotations}


def _predictor(config: DeployConfig, model: Model, service: str) -> Values:
    predictor: Values = {
        "minReplicas": config.min_replicas,
        "maxReplicas": config.replicas_at_most,
    }
    if config.canary_percent is not None:
        predictor["canaryTrafficPercent"] = config.canary_percent
    predictor |= _placement(config)
    container = (
        _own_container(config, model, service)
        if config.runtime == "visionline"
        else _tensorflow_model(config, model, service)
    )
    predictor |= _storage(config, model, service, container)
    _mount_writable(config, predictor, container)
    if config.mode == "standard":
        before = config.pre_stop_seconds
        predictor["terminationGracePeriodSeconds"] = (
            before + _TF_GRACE_SECONDS
            if config.runtime == "tensorflow"
            else grace_seconds(config.served, before)
        )
        if before:
            # Endpoints take the pod away in the same moment as it is told to go.
            wait = ["sleep", str(before)]
            container["lifecycle"] = {"preStop": {"exec": {"command": wait}}}
    own = config.runtime == "visionline"
    return {**predictor, **({"containers": [container]} if own else {"model": container})}


def _placement(config: DeployConfig) -> Values:
    """Says who the pods are in the cluster, where they run, and when there are more of them."""
    placement: Values = {}
    if config.service_account is not None:
        placement["serviceAccountName"] = config.service_account
    if not config.service_account_token:
        placement["automountServiceAccountToken"] = False
    if config.fs_group is not None:
        placement["securityContext"] = {"fsGroup": config.fs_group}
    if config.node_selector:
        placement["nodeSelector"] = dict(config.node_selector)
    if config.tolerations:
        placement["tolerations"] = [t.fields() for t in config.tolerations]
    if (scaling := config.scaling.chosen(config.mode)) is not None:
        placement["scaleMetric"], placement["scaleTarget"] = scaling
    return placement


def _own_container(config: DeployConfig, model: Model, service: str) -> Values:
    check_models(config.served, service)
    asked = config.resources
    scheme = "HTTPS" if config.served.tls else None
    container: Values = {
        "name": "kserve-container",
        "image": config.image,
        "command": ["python", "-m", "serving"],
        "args": arguments(config.server, worth(_cpu(asked)[1])),
        "ports": _ports(config, HTTP, GRPC),
        "startupProbe": _startup(config, _get("/healthz", HTTP, scheme)),
        "livenessProbe": _probe(_get("/healthz", HTTP, scheme)),
        "readinessProbe": _probe(_get("/readyz", HTTP, scheme)),
        "resources": _resources(config, model),
        "securityContext": _security(config),
    }
    env = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for variable, secret, key in (
            (ENVIRONMENT, config.token_secret, config.token_key),
            (CONTROL_ENVIRONMENT, config.control_token_secret, config.control_token_key),
        )
        if secret is not None
    ]
    return {**container, "env": env} if env else container


def _tensorflow_model(config: DeployConfig, model: Model, service: str) -> Values:
    status = f"/v1/models/{service}"
    return {
        "modelFormat": {"name": "tensorflow"},
        "protocolVersion": "v1" if config.protocol == "http" else "grpc-v1",
        "runtimeVersion": config.serving_tag,
        "ports": _ports(config, _TF_HTTP, _TF_GRPC),
        "startupProbe": _startup(config, _get(status, _TF_HTTP)),
        "livenessProbe": _probe({"tcpSocket": {"port": _TF_HTTP}}),
        "readinessProbe": _probe(_get(status, _TF_HTTP)),
        "resources": _resources(config, model),
        "securityContext": _security(config),
    }


def _security(config: DeployConfig) -> Values:
    return {
        "runAsNonRoot": True,
        "runAsUser": config.user,
        "readOnlyRootFilesystem": config.read_only_root,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _ports(config: DeployConfig, http: int, grpc: int) -> list[Values]:
    """Returns the ports; KServe's address leads to the first, and Knative takes no second one."""
    ports = [
        {"name": "http1", "containerPort": http, "protocol": "TCP"},
        {"name": "h2c", "containerPort": grpc, "protocol": "TCP"},
    ]
    if config.protocol == "grpc":
        ports.reverse()
    return ports[:1] if config.mode == "knative" else ports


def _get(path: str, port: int, scheme: str | None = None) -> Values:
    return {"httpGet": {"path": path, "port": port} | ({"scheme": scheme} if scheme else {})}


def _probe(check: Values) -> Values:
    return {
        **check,
        "periodSeconds": _PROBE_SECONDS,
        "timeoutSeconds": 2,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def _startup(config: DeployConfig, check: Values) -> Values:
    tries = -(-config.startup_seconds // _PROBE_SECONDS)
    return {**_probe(check), "failureThreshold": tries}


def _resources(config: DeployConfig, model: Model) -> Values:
    asked = config.resources
    request, limit = memory(config, model)
    cpu, cpu_limit = _cpu(asked)
    limits = {"cpu": cpu_limit, "memory": limit}
    if asked.gpu:
        limits[asked.gpu_type] = str(asked.gpu)
    return {"requests": {"cpu": cpu, "memory": request}, "limits": limits}


def _cpu(asked: ResourcesConfig) -> tuple[str, str]:
    """Returns request and limit: one CPU where nothing is asked for, or what the limit has."""
    least = "1" if asked.cpu_limit is None else min("1", str(asked.cpu_limit), key=worth)
    request = least if asked.cpu is None else str(asked.cpu)
    return request, request if asked.cpu_limit is None else str(asked.cpu_limit)


def _mount_path(config: DeployConfig, model: Model, service: str) -> str:
    parts = [MODELS]
    if config.runtime == "visionline":
        parts.append(service)
    if model.version is not None:
        parts.append(str(model.version))
    return "/".join(parts)


def _storage(config: DeployConfig, model: Model, service: str, container: Values) -> Values:
    """Returns the predictor's part of the storage; the container gets its own, a mounted claim."""
    place = config.place
    parts = [model.name] if model.version is None else [model.name, str(model.version)]
    path = _mount_path(config, model, service)
    if not place.is_claim:
        return {"storageUris": [{"uri": place.uri(*parts), "mountPath": path}]}
    # Of a claim, KServe's storageUris mounts the root whatever path the URI has.
    mount = {"name": _VOLUME, "mountPath": path, "subPath": place.below(*parts), "readOnly": True}
    container["volumeMounts"] = [mount]
    return {"volumes": [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": place.place}}]}


def _mount_writable(config: DeployConfig, predictor: Values, container: Values) -> None:
    """Mounts an empty folder wherever the server writes, beside files that are read-only."""
    if not config.read_only_root:
        return
    folders = {TMP: "tmp"} if config.runtime == "tensorflow" else writable_folders(config.served)
    for folder, name in folders.items():
        mount = {"name": name, "mountPath": folder}
        container["volumeMounts"] = [*container.get("volumeMounts", []), mount]
        predictor["volumes"] = [*predictor.get("volumes", []), {"name": name, "emptyDir": {}}]
