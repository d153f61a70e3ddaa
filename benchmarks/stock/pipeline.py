"""The pipeline, run in this process.

    python -m benchmarks.stock.pipeline --images FOLDER --output EMPTY_FOLDER --epochs 1
        --image-size 32

Writes to the output folder metadata.sqlite, artifacts, the pushed model, and
report.json: the seconds of what MLMD has no record of.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

_began = time.perf_counter()

from absl import logging  # noqa: E402
from tfx import v1 as tfx  # noqa: E402

from benchmarks.stock import records  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - _began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    options = parser.parse_args()
    logging.set_verbosity(logging.INFO)
    began = time.perf_counter()
    classes = records.write_records(options.images, options.output / "records")
    report = {"import_seconds": IMPORT_SECONDS, "records_seconds": time.perf_counter() - began}
    config = {
        "image_size": options.image_size,
        "epochs": options.epochs,
        "num_classes": len(classes),
        "report": str(options.output / "training.json"),
    }
    tfx.orchestration.LocalDagRunner().run(create_pipeline(options.output, config))
    report |= json.loads(Path(config["report"]).read_text("utf-8"))
    (options.output / "report.json").write_text(json.dumps(report, indent=2), "utf-8")


def create_pipeline(output: Path, config: dict[str, int | str]) -> tfx.dsl.Pipeline:
    """Standard components with their defaults."""
    split = tfx.proto.SplitConfig.Split
    example_gen = tfx.components.ImportExampleGen(
        input_base=str(output / "records"),
        output_config=tfx.proto.Output(
            split_config=tfx.proto.SplitConfig(
                splits=[split(name="train", hash_buckets=4), split(name="eval", hash_buckets=1)]
            )
        ),
    )
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    schema_gen = tfx.components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
    schema = schema_gen.outputs["schema"]
    validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema
    )
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="benchmarks.stock.preprocessing.preprocessing_fn",
        custom_config={"image_size": config["image_size"]},
    )
    trainer = tfx.components.Trainer(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        run_fn="benchmarks.stock.training.run_fn",
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
        custom_config=config,
    )
    evaluator = tfx.components.Evaluator(
        examples=examples,
        model=trainer.outputs["model"],
        eval_config=_eval_config(),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(output / "serving"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(output / "artifacts"),
        components=[
            *(example_gen, statistics_gen, schema_gen, validator),
            *(transform, trainer, evaluator, pusher),
        ],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(output / "metadata.sqlite")
        ),
    )


def _eval_config() -> object:
    """Accuracy over all images, which has to pass, and by class."""
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import config_pb2

    overall = tfma.SlicingSpec()
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.05})
    )
    accuracy = tfma.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(slicing_specs=[overall], threshold=threshold)
        ],
    )
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="serving_default", label_key=records.LABEL)],
        metrics_specs=[tfma.MetricsSpec(metrics=[accuracy])],
        slicing_specs=[overall, tfma.SlicingSpec(feature_keys=[records.LABEL])],
    )


if __name__ == "__main__":
    main()
