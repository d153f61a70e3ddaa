"""The config that Kubeflow's tests compile, and the spec that is kept of it."""

from __future__ import annotations

import yaml
from helpers import ROOT

from common.config.strict import parse
from pipeline.config import PipelineConfig

GOLDEN = ROOT / "tests" / "golden" / "kubeflow.yaml"


CONFIG = {
    "name": "digits",
    "data": {"path": "/mnt/visionline/images"},
    "transform": {"image_size": 16},
    "train": {"framework": "pytorch", "model": "small_cnn", "epochs": 3},
    "evaluate": {"min_accuracy": 0.9},
    "push": {"destination": "/mnt/visionline/serving", "keep_versions": 5},
    "kubeflow": {
        "image": "registry.example/visionline:1",
        "pipeline_root": "s3://bucket/artifacts",
        "retries": 2,
        "node_selector": {"disk": "ssd"},
        "volumes": [{"claim": "visionline", "mount": "/mnt/visionline"}],
        "default": {"cpu": "1", "memory": "2Gi"},
        "resources": {
            "Trainer": {"cpu": "4", "memory": "16Gi", "gpu": 1, "node_selector": {"gpu": "a100"}}
        },
    },
}


def config(**changes: object) -> PipelineConfig:
    """Keys are dotted, with "__" for the dot; None takes one away."""
    data = yaml.safe_load(yaml.safe_dump(CONFIG))
    for key, value in changes.items():
        *parents, leaf = key.split("__")
        table = data
        for parent in parents:
            table = table[parent]
        if value is None:
            del table[leaf]
        else:
            table[leaf] = value
    return parse(PipelineConfig, data)
