"""Checks a manifest against the fields that Kubernetes and KServe know, and their rules.

An API server prunes a field it does not know, silently; here it is refused, at every level. The
JSON Schema of all is schema.json, written by scripts/kserve_fields.py from both projects' classes.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonschema import (
    Draft4Validator,
    Draft202012Validator,
    FormatChecker,
    ValidationError,
    validators,
)

from common.errors import ConfigError, nearest
from pipeline.deploy.pods import METRICS
from pipeline.kubernetes.grammar import (
    is_label_name,
    is_label_value,
    is_qualified_key,
    is_subdomain,
    quantity,
)

_CALLED = {
    **{"string": "a text", "integer": "an integer", "number": "a number"},
    **{"boolean": "true or false", "array": "a list", "object": "a table"},
}
# As Kubernetes has it, 1.0 is no integer.
_Validator = validators.extend(Draft202012Validator, type_checker=Draft4Validator.TYPE_CHECKER)


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
    """Returns schema.json, whose `roots` has the name of each kind in its `$defs`."""
    text = Path(__file__).with_name("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _document(manifest: Any) -> Iterator[str]:
    if not isinstance(manifest, dict):
        yield f"expected a table, got {manifest!r}."
        return
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    root = schema()["roots"].get(f"{version} {kind}")
    if root is None:
        kinds = ", ".join(" of ".join(reversed(r.split())) for r in schema()["roots"])
        yield f"unknown kind {kind!r} of apiVersion {version!r}: expected {kinds}."
        return
    validator = _Validator(
        {**schema(), "$ref": f"#/$defs/{root}"}, format_checker=_format_checker()
    )
    # A field that is missing is in one error for each, and told in all of them.
    problems = dict.fromkeys(p for e in validator.iter_errors(manifest) for p in _problems(e))
    yield from problems
    if not problems:
        yield from _rules(manifest) if kind == "InferenceService" else _policy_rules(manifest)


def _problems(error: ValidationError) -> Iterator[str]:
    """Yields what a violated keyword of the schema says to people."""
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    where, got, rule = path.lstrip("."), error.instance, error.schema
    match error.validator:
        case "additionalProperties":
            fields = rule["properties"]
            for key in got:
                if key not in fields:
                    name = f"{path}.{key}".lstrip(".")
                    near = nearest(str(key), fields)
                    yield f"{name}: unknown field of {rule['title']}.{near}"
        case "required":
            for key in rule["required"]:
                if key not in got:
                    name = f"{path}.{key}".lstrip(".")
                    yield f"{name}: required by {rule['title']}, and not there."
        case "not":
            yield f"{where}: {rule['title']} cannot be checked here."
        case "minimum" | "maximum":
            yield f"{where}: expected {rule['minimum']} to {rule['maximum']}, got {got!r}."
        case "type":
            kinds = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
            expected = " or ".join(_CALLED[k] for k in kinds)
            title = f" ({rule['title']})" if "title" in rule else ""
            yield f"{where}: expected {expected}{title}, got {got!r}."
        case _:
            yield f"{where}: expected {error.validator_value}, got {got!r}."


def _keyed(check: Callable[[str], bool]) -> Callable[[Any], bool]:
    return lambda table: all(is_qualified_key(k) and check(v) for k, v in table.items())


_FORMATS: dict[str, Callable[[Any], bool]] = {
    "a name of lower-case letters, digits and -": is_label_name,
    "a claim's name": is_subdomain,
    "a secret's name": is_subdomain,
    "keys and values of labels": _keyed(is_label_value),
    "labels of nodes": _keyed(is_label_value),
    "keys of annotations": _keyed(lambda _: True),
    "an amount such as 500m or 2Gi": lambda text: quantity(text) is not None,
    "amounts such as 500m or 2Gi": lambda table: None not in map(quantity, table.values()),
}
"""The check of each `format` of the schema, which is worded as errors have it."""


@functools.cache
def _format_checker() -> FormatChecker:
    def lenient(check: Callable[[Any], bool], value: Any) -> bool:
        try:
            return check(value)
        except (TypeError, AttributeError):
            return True  # of a wrong type, which is said already

    checker = FormatChecker([])
    for name, check in _FORMATS.items():
        checker.checks(name)(functools.partial(lenient, check))
    return checker


def _rules(manifest: Any) -> Iterator[str]:
    """Yields what KServe's webhook and Knative refuse, of manifests whose fields are right."""
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
    mode = metadata.get("annotations", {}).get("serving.kserve.io/deploymentMode", "Standard")
    yield from _scaling(mode, predictor)
    yield from _mode_rules(mode, predictor, server.get("ports", []))
    yield from _ending(mode, predictor, server)
    yield from _mounts(predictor, server)


def _policy_rules(manifest: Any) -> Iterator[str]:
    """Refuses what selects nothing in particular: it is about all pods of the namespace."""
    key = "podSelector" if manifest["kind"] == "NetworkPolicy" else "selector"
    if not manifest.get("spec", {}).get(key, {}).get("matchLabels"):
        yield f"spec.{key}.matchLabels: required, or it would be about every pod, and not there."


def _mode_rules(mode: str, predictor: Any, ports: Any) -> Iterator[str]:
    where = "spec.predictor"
    if mode not in ("Standard", "Knative"):
        yield f"metadata.annotations: expected deploymentMode Standard or Knative, got {mode!r}."
    elif mode == "Standard" and "canaryTrafficPercent" in predictor:
        yield f"{where}.canaryTrafficPercent: without effect in the mode Standard."
    elif mode == "Knative" and "terminationGracePeriodSeconds" in predictor:
        yield f"{where}.terminationGracePeriodSeconds: Knative has its own."
    elif mode == "Knative" and predictor.get("automountServiceAccountToken"):
        yield f"{where}.automountServiceAccountToken: Knative takes false alone."
    elif mode == "Knative" and len(ports) > 1:
        yield f"{where}: Knative takes one port, got {len(ports)}."
    elif mode == "Knative" and any(p.get("name") not in (None, "http1", "h2c") for p in ports):
        yield f"{where}: Knative's port is named http1 or h2c, got {ports[0]['name']!r}."


def _scaling(mode: str, predictor: Any) -> Iterator[str]:
    """Checks the metric: of the cluster's HorizontalPodAutoscaler, or Knative's own."""
    metric = predictor.get("scaleMetric")
    metrics = METRICS["knative" if mode == "Knative" else "standard"]
    if metric is not None and metric not in metrics:
        yield f"spec.predictor.scaleMetric: expected {' or '.join(metrics)}, got {metric!r}."


def _ending(mode: str, predictor: Any, server: Any) -> Iterator[str]:
    """Refuses a grace period that the wait before SIGTERM, which is a part of it, uses up."""
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
