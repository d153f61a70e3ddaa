"""Writes pipeline/deploy/schema.json: `python scripts/kserve_fields.py KSERVE_WHEEL`.

A JSON Schema of what `visionline deploy` renders, read from the classes that the Kubernetes and
KServe projects generate from their OpenAPI documents: `kubernetes` as installed,
`kserve` from a wheel, since its dependencies conflict with ours:

    pip download --no-deps kserve==0.21.0
    python scripts/kserve_fields.py kserve-0.21.0-py3-none-any.whl
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tempfile
import types
import zipfile
from pathlib import Path
from typing import Any

import kubernetes
import kubernetes.client.models

TARGET = Path(__file__).parent.parent / "pipeline" / "deploy" / "schema.json"
ROOTS = {
    "serving.kserve.io/v1beta1 InferenceService": "V1beta1InferenceService",
    "networking.k8s.io/v1 NetworkPolicy": "V1NetworkPolicy",
    "policy/v1 PodDisruptionBudget": "V1PodDisruptionBudget",
}
"""The type of each kind, by its apiVersion and name."""
OMITTED = {
    "V1beta1InferenceService": ["status"],
    "V1beta1InferenceServiceSpec": ["canary", "explainer", "tracing", "transformer"],
    "V1beta1PredictorSpec": [
        *("huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn"),
        *("tensorflow", "triton", "workerSpec", "xgboost"),
    ],
}
"""What `visionline deploy` never writes; left out to keep the file small."""
ALIASES = {
    "K8sIoApiAppsV1DeploymentStrategy": "V1DeploymentStrategy",
    "K8sIoApiAutoscalingV2HorizontalPodAutoscalerBehavior": "V2HorizontalPodAutoscalerBehavior",
}
"""Names that KServe's classes have for those of the Kubernetes client."""
SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "object": {"type": ["integer", "string"]},  # a port or a share: a number, or a name
    "ResourceQuantity": {"type": "string", "format": "an amount such as 500m or 2Gi"},
}
NAME = {"format": "a name of lower-case letters, digits and -"}
LABELS = {"format": "keys and values of labels"}
AMOUNTS = {"format": "amounts such as 500m or 2Gi"}
PORT = {"minimum": 1, "maximum": 65535}
RULES: dict[tuple[str, str], dict[str, Any]] = {
    ("V1ObjectMeta", "name"): NAME,
    ("V1ObjectMeta", "namespace"): NAME,
    ("V1ObjectMeta", "labels"): LABELS,
    ("V1ObjectMeta", "annotations"): {"format": "keys of annotations"},
    ("V1Container", "name"): NAME,
    ("V1ContainerPort", "containerPort"): PORT,
    ("V1HTTPGetAction", "port"): PORT,
    ("V1TCPSocketAction", "port"): PORT,
    ("V1LabelSelector", "matchLabels"): LABELS,
    ("V1NetworkPolicyPort", "port"): PORT,
    ("V1PersistentVolumeClaimVolumeSource", "claimName"): {"format": "a claim's name"},
    ("V1ResourceRequirements", "limits"): AMOUNTS,
    ("V1ResourceRequirements", "requests"): AMOUNTS,
    ("V1SecretKeySelector", "name"): {"format": "a secret's name"},
    ("V1Volume", "name"): NAME,
    ("V1beta1PredictorSpec", "canaryTrafficPercent"): {"minimum": 0, "maximum": 100},
    ("V1beta1PredictorSpec", "nodeSelector"): {"format": "labels of nodes"},
}
"""What the classes do not say; pipeline/deploy/validate.py has the check of each `format`."""


def kserve_models(wheel: Path, folder: Path) -> types.ModuleType:
    """The generated classes alone; `import kserve` would need all that its server needs."""
    zipfile.ZipFile(wheel).extractall(folder)
    package = types.ModuleType("kserve")
    package.__path__ = [str(folder / "kserve")]
    sys.modules["kserve"] = package
    return importlib.import_module("kserve.models")


def required(cls: type) -> list[str]:
    """The JSON names of the fields that a class does not take None for."""
    names = []
    for attribute, name in cls.attribute_map.items():
        instance = cls.__new__(cls)
        instance.local_vars_configuration = types.SimpleNamespace(client_side_validation=True)
        try:
            setattr(instance, attribute, None)
        except ValueError:
            names.append(name)
    return sorted(names)


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of "int", "V1Volume", "list[V1Volume]" or "dict(str, str)"."""
    if inside := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": schema_of(inside[1])}
    if inside := re.fullmatch(r"dict\(str, (.+)\)", kind):
        names = {"type": "string"}
        values = schema_of(inside[1])
        return {"type": "object", "propertyNames": names, "additionalProperties": values}
    kind = ALIASES.get(kind, kind)
    return dict(SCALARS.get(kind, {"$ref": f"#/$defs/{kind}"}))


def properties(cls: type) -> dict[str, Any]:
    """The schemas of a class's fields by their JSON names."""
    schemas = {
        name: {**schema_of(cls.openapi_types[attribute]), **RULES.get((cls.__name__, name), {})}
        for attribute, name in cls.attribute_map.items()
        if name not in OMITTED.get(cls.__name__, [])
    }
    return dict(sorted(schemas.items()))


def collect(sources: list[types.ModuleType]) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    waiting = list(ROOTS.values())
    while waiting:
        name = waiting.pop()
        if name in definitions:
            continue
        cls = next((getattr(s, name) for s in sources if hasattr(s, name)), None)
        if cls is None:  # a date, or newer than the Kubernetes client: its values are refused
            definitions[name] = {"title": name, "not": {}}
            continue
        definitions[name] = {
            "title": name,
            "type": "object",
            "properties": properties(cls),
            "required": required(cls),
            "additionalProperties": False,
        }
        waiting += re.findall(r"#/\$defs/(\w+)", json.dumps(definitions[name]))
    return dict(sorted(definitions.items()))


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        definitions = collect([kserve_models(wheel, Path(folder)), kubernetes.client.models])
    origin = {
        "written by": "scripts/kserve_fields.py",
        "from": [
            f"kserve {wheel.name.split('-')[1]} (Apache-2.0)",
            f"kubernetes {kubernetes.__version__} (Apache-2.0)",
        ],
        "left out": OMITTED,
    }
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in definitions.items())
    TARGET.write_text(
        '{"$schema": "https://json-schema.org/draft/2020-12/schema",\n'
        f'"origin": {json.dumps(origin)},\n"roots": {json.dumps(ROOTS)},\n'
        f'"$defs": {{\n{lines}\n}}}}\n'
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
