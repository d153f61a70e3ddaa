"""Hands one training its data and records what came of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from common.config.strict import parse
from common.files import tree_digest
from common.process.progress import emit
from common.record.artifacts import Examples, Model
from common.record.record import annotate, annotated, value_of
from common.record.steps import Training
from components import details
from components.trainer.child import run_dir, run_job
from components.trainer.shards import make_shards
from components.transform import VOCABULARY
from modelstore.artifact import SERVING_FORMAT, ModelCard
from trainers.config import TrainConfig
from trainers.job import TrainJob


class TrainerExecutor(base_executor.BaseExecutor):
    """See `components.trainer.component.Trainer`."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        config = parse(TrainConfig, json.loads(exec_properties["config"]), "train.")
        (examples,) = input_dict["examples"]
        (raw_examples,) = input_dict["raw_examples"]
        (graph,) = input_dict["transform_graph"]
        (model,) = output_dict["model"]
        (model_run,) = output_dict["model_run"]
        emit({"kind": "stage", "stage": "shards"})
        shards, _ = make_shards(
            {s: Path(artifact_utils.get_split_uri([examples], s)) for s in ("train", "val")},
            tuple(json.loads(exec_properties["image_size"])),
            Path(exec_properties["cache_dir"]),
        )
        output = Path(model_run.uri)
        folder = run_dir(output)
        job = TrainJob(
            config=config,
            train_split=str(shards / "train"),
            val_split=str(shards / "val"),
            class_names=class_names(Path(graph.uri)),
            transform_graph=graph.uri,
            model_dir=os.path.join(model.uri, SERVING_FORMAT),
            run_dir=str(folder),
            dataset_digest=value_of(annotated(raw_examples), Examples.dataset_digest) or "",
            transform_digest=tree_digest(Path(graph.uri) / "transform_fn"),
        )
        result = run_job(job, output)
        card = parse(ModelCard, result["card"])
        annotate(model, Model(framework=card.framework, architecture=card.architecture))
        figures: dict[str, Any] = card.metrics | {f"parity_{k}": v for k, v in card.parity.items()}
        details.record(
            Training(
                framework=card.framework,
                architecture=card.architecture,
                accelerator=card.accelerator,
                seed=card.seed,
                parameter_count=card.parameter_count,
                hyper_parameters=card.config,
                epochs_run=card.epochs_run,
                best_epoch=card.best_epoch,
                dataset_digest=card.dataset_digest,
                peak_memory_bytes=result["peak_memory_bytes"],
                latency_onnx_ms=card.latency_onnx_ms,
                **figures,
            )
        )
        if folder != output:
            shutil.copytree(folder, output, dirs_exist_ok=True)
            shutil.rmtree(folder)


def class_names(transform_graph: Path) -> tuple[str, ...]:
    """The label vocabulary of a TransformGraph, in the order of the scores."""
    path = transform_graph / "transform_fn" / "assets" / VOCABULARY
    # At line feeds alone: a name may hold what else ends a line for Python.
    return tuple(path.read_bytes().decode().removesuffix("\n").split("\n"))
