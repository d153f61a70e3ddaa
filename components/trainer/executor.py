"""Hands one training its data and records what came of it."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from tfx.dsl.components.base import base_executor

from common.config.strict import parse
from common.files import tree_digest
from common.images.plain import DEPTH
from common.record.artifacts import Examples, Model
from common.record.record import annotate, annotated, value_of
from common.record.steps import Training
from components import details, executor_io
from components.executor_io import Artifacts, Properties, folder, one, split
from components.trainer.child import checkpoint_dir, ended, run_dir, run_job
from components.transform.vocabulary import class_names
from modelstore.artifact import SERVING_FORMAT, ModelCard
from trainers.config import TrainConfig
from trainers.job import TrainJob
from trainers.teacher import find_teacher
from trainers.tracking import Tracking


class TrainerExecutor(base_executor.BaseExecutor):
    """See `components.trainer.component.Trainer`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        config = executor_io.config(TrainConfig, exec_properties, where="train.")
        raw_examples = one(input_dict, "raw_examples")
        graph = folder(input_dict, "transform_graph")
        model = one(output_dict, "model")
        output = folder(output_dict, "model_run")
        directory = run_dir(output)
        images = "arrays" if input_dict.get("arrays") else "raw_examples"
        size = exec_properties.get("image_size")
        job = TrainJob(
            config=config,
            train_split=str(split(input_dict, images, "train")),
            val_split=str(split(input_dict, images, "val")),
            image_size=tuple(json.loads(size)) if size else None,
            class_names=class_names(graph),
            transform_graph=str(graph),
            model_dir=os.path.join(model.uri, SERVING_FORMAT),
            run_dir=str(directory),
            dataset_digest=value_of(annotated(raw_examples), Examples.dataset_digest) or "",
            depth=value_of(annotated(raw_examples), Examples.depth) or DEPTH,
            transform_digest=tree_digest(graph / "transform_fn"),
            tracking=Tracking.asked(
                self._context.pipeline_info.id, self._context.pipeline_run_id or ""
            ),
            code_digest=exec_properties["code_digest"],
            checkpoint_dir=checkpoint_dir(),
        )
        result = run_job(job, output)
        card = parse(ModelCard, result["card"])
        annotate(model, Model(framework=card.framework, architecture=card.architecture))
        teacher = find_teacher(config.distillation)
        figures: dict[str, Any] = card.metrics | {f"parity_{k}": v for k, v in card.parity.items()}
        details.record(
            Training(
                framework=card.framework,
                architecture=card.architecture,
                task=config.task,
                accelerator=card.accelerator,
                seed=card.seed,
                parameter_count=card.parameter_count,
                hyper_parameters=card.config,
                epochs_run=card.epochs_run,
                best_epoch=card.best_epoch,
                dataset_digest=card.dataset_digest,
                teacher=teacher.name if teacher else None,
                teacher_digest=teacher.digest if teacher else None,
                peak_memory_bytes=result["peak_memory_bytes"],
                latency_onnx_ms=card.latency_onnx_ms,
                **figures,
            )
        )
        ended(directory)
        if directory != output:
            shutil.copytree(directory, output, dirs_exist_ok=True)
            shutil.rmtree(directory)
