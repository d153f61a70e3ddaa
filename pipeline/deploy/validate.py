"""Checks a manifest against the fields that Kubernetes and KServe know, and their rules.

An API server prunes a field it does not know, silently; here it is refused, at every level.  The
fields are in fields.json, written by scripts/kserve_fields.py from the classes of both projects.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import ConfigError, nearest
from pipeline.deploy.pods import METRICS
from pipeline.kubernetes.grammar import (
    is_label_name,
    is_label_value,
    is_qualified_key,
    is_subdomain,
    quantity,
)

_FIELDS = Path(__file__).with_name("fields.json")
_PYTHON: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int)}
_CALLED = {"str": "a text", "int": "an integer", "float": "a number", "bool": "true or false"}


def validate(manifest: Any) -> None:
    """Checks one manifest.

    Raises:
      ConfigError: with everything that is wrong, a line for each.
    """
    problems = list(_document(manifest))
    if problems:
        lines = "\n".join(f"  {p}" for p in problems)
        raise ConfigError(f"The manifest is not valid, and nothing is submitted:\n{lines}")


@functools.cache
def schema() -> dict[str, Any]:
    """fields.json: the type of each kind, and for each type its `fields` (name to type) and
    those `required`."""
    found: dict[str, Any] = json.loads(_FIELDS.read_text(encoding="utf-8"))
    return found


def _document(manifest: Any) -> Iterator[str]:
    if not isinstance(manifest, dict):
        yield f"expected a table, got {manifest!r}."
        return
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    root = schema()["roots"].get(f"{version} {kind}")
    if root is None:
        known = ", ".join(" of ".join(reversed(r.split())) for r in schema()["roots"])
        yield f"unknown kind {kind!r} of apiVersion {version!r}: expected {known}."
        return
    problems = list(_object(root, manifest, ""))
    yield from problems
    if not problems:
        yield from _rules(manifest) if kind == "InferenceService" else _policy_rules(manifest)


def _object(name: str, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: expected a table ({name}), got {value!r}."
        return
    known = schema()["types"][name]
    fields = known["fields"]
    for key, inside in value.items():
        path = f"{where}.{key}".lstrip(".")
        if key not in fields:
            yield f"{path}: unknown field of {name}.{nearest(str(key), fields)}"
        else:
            yield from _value(fields[key], inside, path)
            yield from _format(name, key, inside, path)
    for key in known["required"]:
        if key not in value:
            yield f"{where}.{key}".lstrip(".") + f": required by {name}, and not there."


def _value(kind: str, value: Any, where: str) -> Iterator[str]:
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{where}: expected a list, got {value!r}."
            return
        for index, inside in enumerate(value):
            yield from _value(found[1], inside, f"{where}[{index}]")
    elif found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            yield f"{where}: expected a table, got {value!r}."
            return
        for key, inside in value.items():
            yield from _value(found[1], inside, f"{where}.{key}")
    elif kind in schema()["types"]:
        yield from _object(kind, value, where)
    else:
        yield from _scalar(kind, value, where)


def _scalar(kind: str, value: Any, where: str) -> Iterator[str]:
    if kind == "bool":
        ok = isinstance(value, bool)
    elif kind in _PYTHON:
        ok = isinstance(value, _PYTHON[kind]) and not isinstance(value, bool)
    elif kind == "object":  # a port or a share: a number, or a name
        ok = isinstance(value, int | str) and not isinstance(value, bool)
    elif kind == "ResourceQuantity":
        ok = isinstance(value, str) and quantity(value) is not None
    else:
        yield f"{where}: {kind} cannot be checked here."
        return
    if not ok:
        yield f"{where}: expected {_CALLED.get(kind, kind)}, got {value!r}."


def _each(check: Callable[[str], bool]) -> Callable[[Any], bool]:
    return lambda table: all(check(value) for value in table.values())


def _keyed(check: Callable[[str], bool]) -> Callable[[Any], bool]:
    return lambda table: all(is_qualified_key(k) and check(v) for k, v in table.items())


def _is_port(value: Any) -> bool:
    return not isinstance(value, int) or 1 <= value < 65536


_AMOUNTS = _each(lambda text: quantity(text) is not None)
_FORMATS: dict[tuple[str, str], tuple[str, Callable[[Any], bool]]] = {
    ("V1ObjectMeta", "name"): ("a name of lower-case letters, digits and -", is_label_name),
    ("V1ObjectMeta", "namespace"): ("a name of lower-case letters, digits and -", is_label_name),
    ("V1ObjectMeta", "labels"): ("keys and values of labels", _keyed(is_label_value)),
    ("V1ObjectMeta", "annotations"): ("keys of annotations", _keyed(lambda _: True)),
    ("V1Container", "name"): ("a name of lower-case letters, digits and -", is_label_name),
    ("V1ContainerPort", "containerPort"): ("1 to 65535", _is_port),
    ("V1HTTPGetAction", "port"): ("1 to 65535, or a name", _is_port),
    ("V1TCPSocketAction", "port"): ("1 to 65535, or a name", _is_port),
    ("V1LabelSelector", "matchLabels"): ("keys and values of labels", _keyed(is_label_value)),
    ("V1NetworkPolicyPort", "port"): ("1 to 65535, or a name", _is_port),
    ("V1PersistentVolumeClaimVolumeSource", "claimName"): ("a claim's name", is_subdomain),
    ("V1ResourceRequirements", "limits"): ("amounts such as 500m or 2Gi", _AMOUNTS),
    ("V1ResourceRequirements", "requests"): ("amounts such as 500m or 2Gi", _AMOUNTS),
    ("V1SecretKeySelector", "name"): ("a secret's name", is_subdomain),
    ("V1Volume", "name"): ("a name of lower-case letters, digits and -", is_label_name),
    ("V1beta1PredictorSpec", "nodeSelector"): ("labels of nodes", _keyed(is_label_value)),
}


def _format(name: str, key: str, value: Any, where: str) -> Iterator[str]:
    expected, check = _FORMATS.get((name, key), ("", None))
    if check is None:
        return
    try:
        ok = check(value)
    except (TypeError, AttributeError):
        return  # of a wrong type, which is said already
    if not ok:
        yield f"{where}: expected {expected}, got {value!r}."


def _rules(manifest: Any) -> Iterator[str]:
    """What KServe's webhook and Knative refuse, of manifests whose fields are right."""
    metadata = manifest.get("metadata", {})
    name = metadata.get("name", "")
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"metadata.name: KServe's begin with a letter, got {name!r}."
    predictor = manifest["spec"]["predictor"]
    model, containers = predictor.get("model"), predictor.get("containers")
    if (model is None) == (not containers):
        yield "spec.predictor: expected either model or containers."
        return
    server = model if model is not None else containers[0]
    if model is None and not server.get("image"):
        yield "spec.predictor.containers[0].image: required, and not there."
    if model is not None and not model["modelFormat"].get("name"):
        yield "spec.predictor.model.modelFormat.name: required, and not there."
    low, high = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
    if low < 0 or high < 0 or (high and low > high):
        yield f"spec.predictor: expected 0 <= minReplicas <= maxReplicas, got {low} and {high}."
    if not 0 <= predictor.get("canaryTrafficPercent", 100) <= 100:
        yield "spec.predictor.canaryTrafficPercent: expected 0 to 100."
    mode = metadata.get("annotations", {}).get("serving.kserve.io/deploymentMode", "Standard")
    yield from _scaling(mode, predictor)
    yield from _mode_rules(mode, predictor, server.get("ports", []))
    yield from _ending(mode, predictor, server)
    yield from _mounts(predictor, server)


def _policy_rules(manifest: Any) -> Iterator[str]:
    """A policy that selects nothing in particular is one of all pods of the namespace."""
    key = "podSelector" if manifest["kind"] == "NetworkPolicy" else "selector"
    if not manifest.get("spec", {}).get(key, {}).get("matchLabels"):
        yield f"spec.{key}.matchLabels: required, or it would be about every pod, and not there."


def _mode_rules(mode: str, predictor: Any, ports: Any) -> Iterator[str]:
    where = "spec.predictor"
    if mode not in ("Standard", "Knative"):
        yield f"metadata.annotations: expected deploymentMode Standard or Knative, got {mode!r}."
    elif mode == "Standard" and "canaryTrafficPercent" in predictor:
        yield f"{where}.canaryTrafficPercent: without effect in the mode Standard."
    elif mode == "Knative" and {"terminationGracePeriodSeconds"} & predictor.keys():
        yield f"{where}.terminationGracePeriodSeconds: Knative has its own."
    elif mode == "Knative" and predictor.get("automountServiceAccountToken"):
        yield f"{where}.automountServiceAccountToken: Knative takes false alone."
    elif mode == "Knative" and len(ports) > 1:
        yield f"{where}: Knative takes one port, got {len(ports)}."
    elif mode == "Knative" and any(p.get("name") not in (None, "http1", "h2c") for p in ports):
        yield f"{where}: Knative's port is named http1 or h2c, got {ports[0]['name']!r}."


def _scaling(mode: str, predictor: Any) -> Iterator[str]:
    """Standard mode has the cluster's HorizontalPodAutoscaler, knative mode Knative's own."""
    metric = predictor.get("scaleMetric")
    known = METRICS["knative" if mode == "Knative" else "standard"]
    if metric is not None and metric not in known:
        yield f"spec.predictor.scaleMetric: expected {' or '.join(known)}, got {metric!r}."


def _ending(mode: str, predictor: Any, server: Any) -> Iterator[str]:
    """A pod is killed after its grace period, which the wait before SIGTERM is a part of."""
    if "lifecycle" not in server:
        return
    if mode == "Knative":
        yield "spec.predictor: Knative takes no lifecycle of a container."
    command = server["lifecycle"].get("preStop", {}).get("exec", {}).get("command", [])
    grace = predictor.get("terminationGracePeriodSeconds", 30)
    if command[:1] == ["sleep"] and float(command[1]) >= grace:
        yield (
            "spec.predictor.terminationGracePeriodSeconds: expected more than the "
            f"{command[1]} s of preStop, got {grace}."
        )


def _mounts(predictor: Any, server: Any) -> Iterator[str]:
    where = "spec.predictor"
    uris = predictor.get("storageUris", [])
    if uris and "storageUri" in server:
        yield f"{where}: expected storageUri or storageUris, got both."
    for uri in uris:
        path = uri.get("mountPath", "/mnt/models")
        if not re.fullmatch(r"(/[a-z0-9-]+)+", path) or len(path) > 64:
            yield f"{where}.storageUris: {path!r} makes no volume's name."
    volumes = {v["name"] for v in predictor.get("volumes", [])}
    mounts = server.get("volumeMounts", [])
    if len({m["mountPath"] for m in mounts}) < len(mounts):
        yield f"{where}: expected mounts in different folders, got two in one."
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f"{where}: no volume is called {mount['name']!r}, and one is mounted."
