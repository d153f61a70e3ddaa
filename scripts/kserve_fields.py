"""Writes pipeline/deploy/fields.json: `python scripts/kserve_fields.py KSERVE_WHEEL`.

The fields and types of what `visionline deploy` renders, read from the classes that the
Kubernetes and KServe projects generate from their OpenAPI documents: `kubernetes` as installed,
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

TARGET = Path(__file__).parent.parent / "pipeline" / "deploy" / "fields.json"
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
SCALARS = {"str", "int", "bool", "float", "datetime", "object", "ResourceQuantity"}


def kserve_models(wheel: Path, folder: Path) -> types.ModuleType:
    """The generated classes alone; `import kserve` would need all that its server needs."""
    zipfile.ZipFile(wheel).extractall(folder)
    package = types.ModuleType("kserve")
    package.__path__ = [str(folder / "kserve")]
    sys.modules["kserve"] = package
    return importlib.import_module("kserve.models")


def required(cls: type) -> list[str]:
    """The JSON names of the fields that a class does not take None for."""
    found = []
    for attribute, name in cls.attribute_map.items():
        instance = cls.__new__(cls)
        instance.local_vars_configuration = types.SimpleNamespace(client_side_validation=True)
        try:
            setattr(instance, attribute, None)
        except ValueError:
            found.append(name)
    return sorted(found)


def names_in(kind: str) -> list[str]:
    """The types that "list[V1Volume]" or "dict(str, str)" is made of."""
    return [n for n in re.findall(r"\w+", kind) if n not in {"list", "dict"} | SCALARS]


def collect(sources: list[types.ModuleType]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting = list(ROOTS.values())
    while waiting:
        name = waiting.pop()
        cls = next((getattr(s, name) for s in sources if hasattr(s, name)), None)
        if name in found or cls is None:
            continue  # newer than the Kubernetes client: the field's values are refused
        fields = {}
        for attribute, json_name in cls.attribute_map.items():
            if json_name not in OMITTED.get(name, []):
                kind = cls.openapi_types[attribute]
                for alias, real in ALIASES.items():
                    kind = kind.replace(alias, real)
                fields[json_name] = kind
                waiting += names_in(kind)
        found[name] = {"fields": dict(sorted(fields.items())), "required": required(cls)}
    return dict(sorted(found.items()))


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = collect([kserve_models(wheel, Path(folder)), kubernetes.client.models])
    origin = {
        "written by": "scripts/kserve_fields.py",
        "from": [
            f"kserve {wheel.name.split('-')[1]} (Apache-2.0)",
            f"kubernetes {kubernetes.__version__} (Apache-2.0)",
        ],
        "left out": OMITTED,
    }
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())
    TARGET.write_text(
        f'{{"origin": {json.dumps(origin)},\n"roots": {json.dumps(ROOTS)},\n'
        f'"types": {{\n{lines}\n}}}}\n'
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
