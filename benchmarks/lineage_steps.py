"""What visionline's steps leave in a store: types, parameters, properties.

Copied from the record of a real run, see docs/provenance.md.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from benchmarks.mlmd_rows import Type
from common.record import kinds
from common.record.artifacts import Blessing, Examples, Imported, Model, Pushed
from common.record.record import name_of, names_of
from common.record.run import Run
from common.record.steps import Data, Parameters, Training, Verdict

PIPELINE = "photos"
CLASSES = ("bus", "car", "cat", "dog", "fox", "horse", "lorry", "owl", "ship", "swan")
_DATASET, _MODEL, _STATISTICS = 1, 2, 4
_PROCESS, _EVALUATE = 3, 4
"""MLMD's base types of artifacts and of executions."""
SPAN, VERSION, SPLIT_NAMES = names_of(Examples.span, Examples.version, Examples.split_names)
SPLITS = '["train", "val", "test"]'
_EMPTY_LIST = "mlmd-struct::Cg8KCV9fdmFsdWVfXxICMgA="
_SAMPLED = (
    "mlmd-struct::CjYKCV9fdmFsdWVfXxIpGid7InRlc3QiOiAxLjAsICJ0cmFpbiI6IDEuMCwgInZhbCI6IDEuMH0="
)
_CLEAN = "mlmd-struct::ChEKBHRlc3QSCREAAAAAAADwPwoSCgV0cmFpbhIJEQAAAAAAAPA/ChAKA3ZhbBIJEQAAAAAAAPA/"
"""Structs as MLMD stores them: [], the statistics' sample rate 1.0 and 1.0 by split."""


@dataclass(frozen=True, slots=True)
class Node:
    type: str
    inputs: dict[str, str]
    """Node.key of what it reads, by its own key."""
    outputs: dict[str, str]
    """Artifact type by key."""
    seconds: float
    """That it takes about."""


NODES = {
    kinds.IMAGE_EXAMPLE_GEN: Node(
        "components.example_gen.component.ImageExampleGen",
        {},
        {"report": kinds.REPORT, "examples": kinds.EXAMPLES},
        30,
    ),
    kinds.STATISTICS_GEN: Node(
        "components.statistics.StatisticsGen",
        {"examples": "ImageExampleGen.examples"},
        {"statistics": kinds.STATISTICS},
        20,
    ),
    kinds.SCHEMA_GEN: Node(
        "components.schema_gen.SchemaGen",
        {"statistics": "StatisticsGen.statistics"},
        {"schema": kinds.SCHEMA},
        0.2,
    ),
    kinds.EXAMPLE_VALIDATOR: Node(
        "components.example_validator.ExampleValidator",
        {"statistics": "StatisticsGen.statistics", "schema": "SchemaGen.schema"},
        {"anomalies": kinds.ANOMALIES},
        0.2,
    ),
    kinds.TRANSFORM: Node(
        "components.transform.component.Transform",
        {"schema": "SchemaGen.schema", "report": "ImageExampleGen.report"},
        {"transform_graph": kinds.TRANSFORM_GRAPH},
        0.4,
    ),
    kinds.ARRAY_GEN: Node(
        "components.array_gen.component.ArrayGen",
        {
            "examples": "ImageExampleGen.examples",
            "transform_graph": "Transform.transform_graph",
        },
        {"arrays": kinds.ARRAYS},
        5,
    ),
    kinds.TRAINER: Node(
        "components.trainer.component.Trainer",
        {
            "transform_graph": "Transform.transform_graph",
            "arrays": "ArrayGen.arrays",
            "raw_examples": "ImageExampleGen.examples",
        },
        {"model_run": kinds.MODEL_RUN, "model": kinds.MODEL},
        400,
    ),
    kinds.BASELINE: Node("tfx.dsl.components.common.resolver.Resolver", {}, {}, 0.1),
    kinds.EVALUATOR: Node(
        "tfx.components.evaluator.component.Evaluator",
        {
            "examples": "ImageExampleGen.examples",
            "model": "Trainer.model",
            "schema": "SchemaGen.schema",
        },
        {"evaluation": kinds.EVALUATION, "blessing": kinds.BLESSING},
        40,
    ),
    kinds.PUSHER: Node(
        "components.pusher.Pusher",
        {
            "model_blessing": "Evaluator.blessing",
            "evaluation": "Evaluator.evaluation",
            "model": "Trainer.model",
        },
        {"pushed_model": kinds.PUSHED_MODEL},
        0.5,
    ),
}
ARTIFACTS: dict[str, tuple[int, dict[str, int]]] = {
    # base type, properties by number of their type
    kinds.REPORT: (0, {}),
    kinds.EXAMPLES: (_DATASET, {SPAN: 1, VERSION: 1, SPLIT_NAMES: 3}),
    kinds.STATISTICS: (_STATISTICS, {SPAN: 1, SPLIT_NAMES: 3}),
    kinds.SCHEMA: (0, {}),
    kinds.ANOMALIES: (0, {SPAN: 1, SPLIT_NAMES: 3}),
    kinds.TRANSFORM_GRAPH: (0, {}),
    kinds.ARRAYS: (0, {SPLIT_NAMES: 3}),
    kinds.MODEL_RUN: (0, {}),
    kinds.MODEL: (_MODEL, {}),
    kinds.EVALUATION: (0, {}),
    kinds.BLESSING: (0, {}),
    kinds.PUSHED_MODEL: (_MODEL, {}),
}
_BASES = {kinds.STATISTICS_GEN: _PROCESS, kinds.EVALUATOR: _EVALUATE}
TYPES: list[Type] = [
    *(("context", n, 0, {}) for n in (kinds.RUN, kinds.PIPELINE, kinds.NODE, kinds.CACHE)),
    *(("execution", n.type, _BASES.get(k, 0), {}) for k, n in NODES.items()),
    *(("artifact", n, base, properties) for n, (base, properties) in ARTIFACTS.items()),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run is asked to do."""

    name: str
    root: str
    data: int
    """Number of the dataset, and its span."""
    train: dict[str, Any]
    image_size: int
    transform_code: int
    trainer_code: int
    commit: int
    lock: int
    """Number of the set of installed packages."""


def digest(*what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def packages() -> dict[str, str]:
    """As many as visionline has installed."""
    return {f"{a}-{b}": "1.0.0" for a in _FIRST for b in _SECOND}


def parameters(node: str, plan: Plan) -> dict[str, Any]:
    """What TFX records of a component, and hashes for its cache."""
    if node == kinds.IMAGE_EXAMPLE_GEN:
        return Parameters(config=_data_config(plan)).properties()
    if node == kinds.STATISTICS_GEN:
        return {"exclude_splits": "[]"}
    if node == kinds.SCHEMA_GEN:
        return {"class_balance_threshold": 0.1}
    if node == kinds.EXAMPLE_VALIDATOR:
        return {"accepted": "[]", "exclude_splits": "[]", "slices": "[]"}
    if node == kinds.TRANSFORM:
        code = digest("transform", plan.transform_code)
        size = [plan.image_size, plan.image_size]
        config = {"code_digest": code, "image_size": size, "resize": "crop"}
        return Parameters(custom_config=config).properties()
    if node == kinds.ARRAY_GEN:
        return Parameters(
            code_digest=digest("arrays", plan.transform_code),
            image_size=[plan.image_size, plan.image_size],
        ).properties()
    if node == kinds.TRAINER:
        return Parameters(
            code_digest=digest("trainer", plan.trainer_code),
            config=plan.train,
        ).properties()
    if node == kinds.EVALUATOR:
        judging = Parameters(eval_config=_EVAL_CONFIG, example_splits=["test"])
        return {**judging.properties(), "fairness_indicator_thresholds": "null"}
    return {"destination": f"{plan.root}/serving", "name": plan.name}


def config(plan: Plan) -> dict[str, Any]:
    """The resolved config."""
    return {
        "data": _data_config(plan),
        "evaluate": {
            **{"max_regression": 0.01, "min_accuracy": 0.8},
            **{"min_class_accuracy": None, "slices": [], "top_k": 5},
        },
        "name": plan.name,
        "pipeline": PIPELINE,
        "push": {"destination": f"{plan.root}/serving"},
        "run": {"beam_args": [], "output": plan.root, "runner": "beam"},
        "schema": {"accept": [], "frozen": None},
        "train": plan.train,
        "transform": {"image_size": plan.image_size, "resize": "crop"},
    }


def run_record(plan: Plan, installed: dict[str, str]) -> Run:
    """Of the pipeline_run context, as it begins.

    Args:
      installed: version by package.
    """
    resolved = config(plan)
    return Run(
        pipeline=PIPELINE,
        config=resolved,
        config_digest=digest(resolved),
        seed=plan.train["seed"],
        framework=plan.train["framework"],
        model=plan.train["model"],
        packages=installed,
        packages_digest=digest(installed),
        lock_digest=digest("lock", plan.lock),
        python="3.11.7",
        git_commit=digest("commit", plan.commit)[:40],
        git_dirty=plan.commit % 10 == 0,
        visionline_git_commit=digest("visionline", plan.commit // 20)[:40],
        visionline_git_dirty=False,
        host="trainer-1",
        platform="Linux-6.1.0-28-amd64-x86_64-with-glibc2.36",
        cpus=16,
        user=("ada", "grace", "alan")[plan.commit % 3],
        directory=plan.root,
    )


def image_count(data: int) -> int:
    return 20_000 + 500 * data


def ingested(plan: Plan) -> dict[str, Any]:
    """What ImageExampleGen says on its execution."""
    images = image_count(plan.data)
    test = val = images // 10
    return Data(
        input_fingerprint=digest("data", plan.data),
        resolved_path=f"{plan.root}/images/span-{plan.data}",
        span=plan.data,
        split_counts={"train": images - test - val, "val": val, "test": test},
        quarantined=plan.data % 4,
    ).properties()


def trained(plan: Plan, accuracy: float) -> dict[str, Any]:
    """What the Trainer says on its execution."""
    return Training(
        framework=plan.train["framework"],
        architecture=plan.train["model"],
        accelerator="cpu",
        seed=plan.train["seed"],
        parameter_count=11_181_642,
        hyper_parameters=plan.train,
        dataset_digest=digest("data", plan.data),
        epochs_run=plan.train["epochs"],
        best_epoch=plan.train["epochs"] - 1,
        peak_memory_bytes=3_138_970_624,
        train_seconds=400.25,
        images_per_second=841.525438,
        loss=round(1.1 - accuracy, 6),
        accuracy=round(accuracy + 0.01, 6),
        val_loss=round(1.2 - accuracy, 6),
        val_accuracy=round(accuracy + 0.002, 6),
        latency_onnx_ms=4.25,
        parity_onnx=1e-06,
        parity_savedmodel=0.0,
        parity_savedmodel_bytes=0.0,
    ).properties()


def judged(plan: Plan, accuracy: float, blessed: bool, chance: random.Random) -> dict[str, Any]:
    """What the Evaluator says on its execution."""
    classes = [
        {
            "name": name,
            "examples": image_count(plan.data) // 100,
            "precision": chance.uniform(accuracy - 0.05, 1),
            "recall": chance.uniform(accuracy - 0.05, 1),
        }
        for name in CLASSES
    ]
    why_not = () if blessed else (f"accuracy {accuracy:.4f} is below the threshold 0.8",)
    return Verdict(
        accuracy=accuracy,
        loss=round(1.15 - accuracy, 6),
        top_k_accuracy=0.998,
        expected_calibration_error=0.012,
        examples=image_count(plan.data) // 10,
        blessed=blessed,
        per_class=classes,
        why_not_blessed=why_not,
    ).properties()


def artifact_properties(kind: str, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Custom ones and those of the type, that every artifact of the type has."""
    custom: dict[str, Any] = {**Imported(is_external=False).properties(), "tfx_version": "1.21.0"}
    typed: dict[str, Any] = {}
    if kind in (kinds.STATISTICS, kinds.ANOMALIES):
        typed = {SPAN: plan.data, SPLIT_NAMES: SPLITS}
    if kind == kinds.STATISTICS:
        custom |= {"sample_rate_by_split": _SAMPLED, "stats_dashboard_link": ""}
    elif kind == kinds.ANOMALIES:
        custom[name_of(Blessing.blessed)] = _CLEAN
    elif kind == kinds.MODEL:
        model = Model(framework=plan.train["framework"], architecture=plan.train["model"])
        custom |= model.properties()
    elif kind == kinds.PUSHED_MODEL:
        custom |= Pushed(model_name=plan.name).properties()
    return custom, typed


def raw_examples(plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Further properties of ImageExampleGen's examples, as above."""
    images = Examples(
        class_count=len(CLASSES),
        dataset_digest=digest("data", plan.data),
        image_count=image_count(plan.data),
        input_fingerprint=digest("data", plan.data),
        payload_format="FORMAT_TF_EXAMPLE",
        span=plan.data,
    )
    tfx = {name_of(Examples.extra_columns): _EMPTY_LIST, "file_format": "tfrecords_gzip"}
    return {**images.properties(), **tfx}, {SPAN: plan.data}


def _data_config(plan: Plan) -> dict[str, Any]:
    return {
        **{"follow_symlinks": True, "format": "auto", "max_pixels": 50_000_000},
        **{"max_quarantine_fraction": 0.05, "path": f"{plan.root}/images/span-{{SPAN}}"},
        **{"span": plan.data, "splits": {"test": 0.1, "train": 0.8, "val": 0.1}, "version": None},
    }


_FIRST = (
    *("absl", "aio", "anno", "apache", "async", "attr", "beam", "cloud", "data", "docker", "fast"),
    *("google", "grpc", "http", "image", "json", "keras", "mark", "numpy", "onnx", "proto", "py"),
    *("rich", "scikit", "tensor", "torch", "type", "uri", "web", "yaml"),
)
_SECOND = (
    *("api", "bigquery-storage", "client", "core", "io", "lib", "metadata", "tools", "utils"),
)
_EVAL_CONFIG: dict[str, Any] = {
    "model_specs": [
        {"name": n, "is_baseline": n == "baseline", "label_key": "label_id"}
        for n in ("candidate", "baseline")
    ],
    "slicing_specs": [{}, {"feature_keys": ["label"]}],
    "metrics_specs": [
        {
            "metrics": [
                {
                    "class_name": metric,
                    "config": json.dumps({"name": metric.lower()}),
                    "per_slice_thresholds": [
                        {
                            "slicing_specs": [{}],
                            "threshold": {"value_threshold": {"lower_bound": 0.8}},
                        }
                    ],
                }
                for metric in ("SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy")
            ]
        }
    ],
}
