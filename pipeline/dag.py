"""The one DAG; every runner runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import Model

from common.config.strict import dump
from common.files import sha256_file
from common.record.kinds import (
    ARRAY_GEN,
    BASELINE,
    BULK_INFERRER,
    IMAGE_EXAMPLE_GEN,
    SCHEMA_GEN,
    TRANSFORM,
)
from components.array_gen.component import ArrayGen
from components.bulk_inferrer.baseline import ServedModel
from components.bulk_inferrer.component import BaselineInferrer, BulkInferrer
from components.evaluator.component import Evaluator
from components.example_gen.component import ImageExampleGen
from components.example_gen.config import evaluation_split
from components.example_gen.driver import BEAM, THREADS
from components.example_validator import ExampleValidator
from components.infra_validation.component import InfraValidator
from components.pusher import Pusher
from components.schema_gen import SchemaGen
from components.statistics import StatisticsGen
from components.trainer.component import Trainer
from components.transform.component import Transform
from lineage.store.workspace import Workspace
from pipeline import beam_args
from pipeline.config import PipelineConfig
from pipeline.recording.code_digest import arrays_code, serving_code, training_code, transform_code
from trainers.classes import NeededClasses
from trainers.inputs import STREAM

BEFORE_TRAINER = frozenset({IMAGE_EXAMPLE_GEN, TRANSFORM, ARRAY_GEN})
BEFORE_INFRA_VALIDATOR = BULK_INFERRER
AFTER_TRAINER = (
    "components.bulk_inferrer.executor",
    "components.evaluator.executor",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
"""What the steps after the Trainer, and the pictures of what came of them, import."""


def create_pipeline(config: PipelineConfig, workspace: Workspace) -> Pipeline:
    """Builds the TFX pipeline of a config; runs nothing."""
    engine = BEAM if config.run.beam_args else THREADS
    example_gen = ImageExampleGen(config=config.data, engine=engine)
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = _schema(config, workspace, statistics_gen)
    schema = schema_gen.outputs["schema"]
    validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema,
        report=example_gen.outputs["report"],
        accepted=config.schema.accept,
        slices=config.evaluate.slices,
        max_conflicting_fraction=config.schema.max_conflicting_fraction,
        needed=NeededClasses.of(config.train),
    )
    transformer = Transform(
        schema=schema,
        report=example_gen.outputs["report"],
        image_size=config.transform.size,
        resize=config.transform.resize,
        code_digest=transform_code(),
    )
    transformer.add_upstream_node(validator)
    array_gen = None
    if config.train.input != STREAM:
        array_gen = ArrayGen(
            examples=example_gen.outputs["examples"],
            transform_graph=transformer.outputs["transform_graph"],
            image_size=config.transform.size,
            code_digest=arrays_code(),
        )
    trainer = Trainer(
        arrays=array_gen.outputs["arrays"] if array_gen else None,
        image_size=None if array_gen else json.dumps(config.transform.size),
        raw_examples=example_gen.outputs["examples"],
        transform_graph=transformer.outputs["transform_graph"],
        config=json.dumps(dump(config.train), sort_keys=True),
        code_digest=training_code(config.train),
    )
    split = evaluation_split(config.data)
    inferrer = BulkInferrer(
        examples=example_gen.outputs["examples"], model=trainer.outputs["model"], split=split
    )
    place = {
        "serving_dir": str(config.destination),
        "name": config.name,
        "comparison": config.evaluate.baseline,
    }
    baseline = Resolver(
        strategy_class=ServedModel,
        config={**place, "pipeline": config.pipeline_name},
        candidate=trainer.outputs["model"],
        model=Channel(type=Model),
    ).with_id(BASELINE)
    baseline_inferrer = BaselineInferrer(
        examples=example_gen.outputs["examples"],
        candidate=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        split=split,
        **place,
    )
    evaluator = Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        predictions=inferrer.outputs["inference_result"],
        baseline_predictions=baseline_inferrer.outputs["inference_result"],
        baseline_model=baseline.outputs["model"],
        config=config.evaluate,
        task=config.train.task,
        split=split,
    )
    infra_validator = None
    if config.infra_validation.enabled:
        infra_validator = InfraValidator(
            model=trainer.outputs["model"],
            model_blessing=evaluator.outputs["blessing"],
            examples=example_gen.outputs["examples"],
            config=config.infra_validation,
            name=config.name,
            split=split,
            work_dir=str(infra_validation_dir(workspace)),
            code_digest=serving_code(),
        )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        infra_blessing=infra_validator.outputs["blessing"] if infra_validator else None,
        destination=str(config.destination),
        name=config.name,
        keep_versions=config.push.keep_versions,
    )
    return Pipeline(
        pipeline_name=config.pipeline_name,
        pipeline_root=str(workspace.artifacts),
        components=[
            *(example_gen, statistics_gen, schema_gen, validator, transformer),
            *([array_gen] if array_gen else []),
            *(trainer, inferrer, baseline, baseline_inferrer, evaluator),
            *([infra_validator] if infra_validator else []),
            pusher,
        ],
        metadata_connection_config=config.store.mlmd_config(),
        enable_cache=True,
        beam_pipeline_args=beam_args.complete(config.run.beam_args),
    )


def infra_validation_dir(workspace: Workspace) -> Path:
    """Returns where the server of a run's candidate has its folder, for the time."""
    return workspace.cache / "infra-validation"


def _schema(config: PipelineConfig, workspace: Workspace, statistics_gen: BaseNode) -> BaseNode:
    """Returns SchemaGen, or the frozen schema under a name that tells its content.

    TFX's cache looks at an imported file's path alone.
    """
    if config.schema.frozen is None:
        return SchemaGen(statistics=statistics_gen.outputs["statistics"])
    source = Path(config.schema.frozen)
    kept = workspace.cache / "schemas" / sha256_file(source) / "schema.pbtxt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, kept)
    return ImportSchemaGen(schema_file=str(kept)).with_id(SCHEMA_GEN)
