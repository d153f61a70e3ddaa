"""Predictions are made once, as served; TFX's own Evaluator, which runs models, finds the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Demo
from tfx.types import standard_artifacts

from common.config.strict import dump
from common.errors import DataError
from common.files import read_json, write_json
from components import tfx_private
from components.bulk_inferrer.executor import (
    RESOLVED,
    BaselineInferrerExecutor,
    BulkInferrerExecutor,
)
from components.evaluator.executor import EvaluatorExecutor
from components.evaluator.figures import evaluation_of
from components.evaluator.result import Evaluation, read_evaluation
from modelstore.artifact import MODEL_CARD, MODEL_ONNX, SERVING_FORMAT, ModelCard, model_digest
from modelstore.baseline import OFF, Baseline
from modelstore.predictions import PredictionsReader
from modelstore.tasks import TASKS

SPLIT, COLUMN = "test", "image/format"
BEAM = ["--beam_plugin=tfx", "--allow_unsafe_triggers", "--sdk_container_image=this-machine"]


class Judge:
    """The three executors one after the other, on the demo's images."""

    def __init__(self, demo: Demo, root: Path, candidate: str = "digits-keras") -> None:
        self.root, self.demo = root, demo
        (examples,) = demo.workspace.glob("artifacts/ImageExampleGen/examples/*")
        self.examples = self.artifact(standard_artifacts.Examples, examples)
        self.examples.split_names = '["train", "val", "test"]'
        # A further column is whatever the examples have.
        self.examples.set_string_custom_property("extra_columns", json.dumps([COLUMN]))
        self.model = self.artifact(standard_artifacts.Model, self.copied(candidate))
        self.predictions = self.artifact(standard_artifacts.InferenceResult)
        self.beside = self.artifact(standard_artifacts.InferenceResult)
        self.evaluation = self.artifact(standard_artifacts.ModelEvaluation)
        self.blessing = self.artifact(standard_artifacts.ModelBlessing)

    def artifact(self, kind: Any, place: Path | None = None) -> Any:
        made = kind()
        made.uri = str(place or self.root / f"{kind.__name__}-{len([*self.root.iterdir()])}")
        Path(made.uri).mkdir(exist_ok=True)
        return made

    def copied(self, name: str) -> Path:
        """A model's folder, to be changed."""
        folder = self.root / f"{name}-{len([*self.root.iterdir()])}"
        shutil.copytree(self.demo.serving / name / "1", folder / SERVING_FORMAT)
        return folder

    @property
    def directory(self) -> Path:
        return Path(self.model.uri) / SERVING_FORMAT

    def predict(self) -> PredictionsReader:
        inputs = {"examples": [self.examples], "model": [self.model]}
        executor = BulkInferrerExecutor()
        executor.Do(inputs, {"inference_result": [self.predictions]}, {"split": SPLIT})
        return PredictionsReader(Path(self.predictions.uri))

    def predict_baseline(self, baseline: Baseline) -> None:
        BaselineInferrerExecutor().Do(
            {"examples": [self.examples]},
            {"inference_result": [self.beside]},
            {"split": SPLIT, RESOLVED: json.dumps(dump(baseline))},
        )

    def evaluate(self, **thresholds: Any) -> Evaluation:
        inputs = {
            **{"examples": [self.examples], "model": [self.model]},
            **{"predictions": [self.predictions], "baseline_predictions": [self.beside]},
        }
        context = EvaluatorExecutor.Context(beam_pipeline_args=BEAM, tmp_dir=str(self.root))
        EvaluatorExecutor(context).Do(
            inputs,
            {"evaluation": [self.evaluation], "blessing": [self.blessing]},
            {
                "evaluate": json.dumps({"min_accuracy": 0.5, **thresholds}),
                "task": "classification",
                "example_splits": json.dumps([SPLIT]),
            },
        )
        return read_evaluation(Path(self.evaluation.uri))

    def judge(self, baseline: Baseline, **thresholds: Any) -> Evaluation:
        self.predict()
        self.predict_baseline(baseline)
        return self.evaluate(**thresholds)


def served(directory: Path) -> Baseline:
    return Baseline(
        state="served", version="m@1", where=str(directory), digest=model_digest(directory)
    )


@pytest.fixture
def judge(demo: Demo, tmp_path: Path) -> Judge:
    return Judge(demo, tmp_path)


def reordered(directory: Path) -> Path:
    """Numbers the classes of a model from the other end, in all that tells of them."""
    import onnx
    from onnx import helper

    card = read_json(directory / MODEL_CARD)
    card["class_names"].reverse()
    write_json(directory / MODEL_CARD, card)
    graph = onnx.load(directory / MODEL_ONNX)
    for node in graph.graph.node:
        node.output[:] = ["forwards" if o == "scores" else o for o in node.output]
    order = helper.make_tensor(
        "order", onnx.TensorProto.INT64, [len(card["class_names"])], range(9, -1, -1)
    )
    graph.graph.initializer.append(order)
    graph.graph.node.append(helper.make_node("Gather", ["forwards", "order"], ["scores"], axis=1))
    onnx.save(graph, directory / MODEL_ONNX)
    return directory


def test_predictions_are_what_the_savedmodel_says_of_the_files(judge: Judge) -> None:
    import tensorflow as tf

    from common.files import walk_files
    from modelstore.raw_example import ENCODED, LABEL, PATH, SHA256

    reader = judge.predict()
    files = walk_files(Path(judge.examples.uri) / f"Split-{SPLIT}")
    parsed = [
        tf.train.Example.FromString(r.numpy()).features.feature
        for r in tf.data.TFRecordDataset([str(f) for f in files], "GZIP")
    ]

    def values(key: str) -> tuple[bytes, ...]:
        return tuple(features[key].bytes_list.value[0] for features in parsed)

    signature = tf.saved_model.load(str(judge.directory)).signatures["serving_bytes"]
    expected_NC = signature(images=tf.constant(values(ENCODED)))["scores"].numpy()
    rows = reader.rows(0)
    np.testing.assert_allclose(rows.scores_NC, expected_NC, atol=1e-4)
    assert rows.paths == values(PATH)
    assert tuple(s.encode() for s in rows.sha256) == values(SHA256)
    assert tuple(s.encode() for s in rows.labels) == values(LABEL)
    assert tuple(rows.columns[COLUMN]) == values(COLUMN)
    origin = reader.origin
    assert (origin.engine, origin.split, origin.images) == ("onnx", SPLIT, len(parsed))
    assert origin.model_digest == model_digest(judge.directory)
    assert origin.compared == 16 and origin.parity <= 1e-4


def test_without_onnx_the_savedmodel_predicts(judge: Judge) -> None:
    fast = judge.predict().rows(0).scores_NC
    (judge.directory / MODEL_ONNX).unlink()
    reader = judge.predict()
    assert reader.origin.engine == "tensorflow"
    np.testing.assert_allclose(reader.rows(0).scores_NC, fast, atol=1e-4)


def test_an_engine_that_answers_otherwise_stops_the_step(judge: Judge) -> None:
    reordered(judge.directory)
    with pytest.raises(DataError, match=r"onnx differs from the SavedModel by .* on 16 images"):
        judge.predict()
    assert not (Path(judge.predictions.uri) / "predictions.json").exists()


def test_a_class_that_the_model_does_not_know_stops_the_step(judge: Judge) -> None:
    card = read_json(judge.directory / MODEL_CARD)
    card["class_names"][0] = "eleven"
    write_json(judge.directory / MODEL_CARD, card)
    with pytest.raises(DataError, match=r"classes that the model was not trained on: '\d'"):
        judge.predict()


def stock(judge: Judge, baseline: Path | None, **thresholds: Any) -> tuple[Evaluation, bool]:
    """What TFX's own Evaluator finds with TFMA's own metrics on the models themselves."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format
    from google.protobuf.wrappers_pb2 import DoubleValue
    from tensorflow_model_analysis.proto import config_pb2
    from tfx.components.evaluator import executor as tfx_executor

    tfx_private.name_tfma_protos()

    def bar(least: float) -> Any:
        return tfma.GenericValueThreshold(lower_bound=DoubleValue(value=least))

    change = tfma.GenericChangeThreshold(
        direction=tfma.MetricDirection.HIGHER_IS_BETTER,
        absolute=DoubleValue(value=-thresholds.get("max_regression", 0.01)),
    )
    of_all = tfma.MetricThreshold(
        value_threshold=bar(thresholds.get("min_accuracy", 0.5)), change_threshold=change
    )
    of_class = tfma.MetricThreshold(value_threshold=bar(thresholds["min_class_accuracy"]))
    slicing = [tfma.SlicingSpec(feature_keys=keys) for keys in ([], ["label"], [COLUMN])]
    bars = [
        config_pb2.PerSliceMetricThreshold(slicing_specs=[slice_], threshold=threshold)
        for slice_, threshold in zip(slicing, (of_all, of_class), strict=False)
    ]
    metrics = [
        tfma.MetricConfig(
            class_name="SparseCategoricalAccuracy",
            config='{"name": "accuracy"}',
            per_slice_thresholds=bars,
        ),
        tfma.MetricConfig(class_name="ExampleCount"),
        tfma.MetricConfig(class_name="SparseCategoricalCrossentropy", config='{"name": "loss"}'),
        tfma.MetricConfig(
            class_name="SparseTopKCategoricalAccuracy",
            config='{"name": "top_k_accuracy", "k": 2}',
        ),
    ]
    plots = (
        tfma.MetricsSpec(metrics=[tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot")]),
        tfma.MetricsSpec(
            metrics=[tfma.MetricConfig(class_name="CalibrationPlot", config='{"num_buckets": 10}')],
            aggregate=config_pb2.AggregationOptions(micro_average=True),
        ),
    )
    specs = [
        tfma.ModelSpec(
            name=name,
            signature_name="serving_default",
            preprocessing_function_names=["transform_features"],
            label_key="label_id",
            prediction_key="scores",
            is_baseline=name == "baseline",
        )
        for name in ("candidate", "baseline")
    ]
    config = tfma.EvalConfig(
        model_specs=specs,
        metrics_specs=[tfma.MetricsSpec(metrics=metrics), *plots],
        slicing_specs=slicing,
    )
    inputs = {"examples": [judge.examples], "model": [judge.model]}
    if baseline is not None:
        inputs["baseline_model"] = [judge.artifact(standard_artifacts.Model, baseline)]
    evaluation = judge.artifact(standard_artifacts.ModelEvaluation)
    blessing = judge.artifact(standard_artifacts.ModelBlessing)
    context = tfx_executor.Executor.Context(beam_pipeline_args=BEAM, tmp_dir=str(judge.root))
    tfx_executor.Executor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
            "example_splits": json.dumps([SPLIT]),
            "fairness_indicator_thresholds": "null",
        },
    )
    names = ModelCard.read(judge.directory).class_names
    found = evaluation_of(Path(evaluation.uri), TASKS["classification"], names, OFF)
    return found, (Path(blessing.uri) / "BLESSED").exists()


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """The same values; theirs are float32 where ours are not."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-6), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("least", [0.5, 0.999])
@pytest.mark.parametrize("compared", [False, True])
def test_the_figures_are_those_of_tfx_s_own_evaluator(
    demo: Demo, tmp_path: Path, compared: bool, least: float
) -> None:
    judge = Judge(demo, tmp_path)
    thresholds = {"min_accuracy": least, "min_class_accuracy": least, "max_regression": 0.0}
    folder = judge.copied("digits-pytorch") if compared else None
    baseline = served(folder / SERVING_FORMAT) if folder else Baseline(state="first")
    ours = judge.judge(baseline, top_k=2, slices=[COLUMN], **thresholds)
    theirs, blessed = stock(judge, folder, **thresholds)
    plain = [dump(each) for each in (ours, theirs)]
    for each in plain:
        del each["baseline"], each["failures"]
    same(*plain)
    assert [f.partition(" is ")[0] for f in ours.failures] == [
        f.partition(" is ")[0] for f in theirs.failures
    ]
    assert bool(ours.failed) or least < 0.9
    assert ours.blessed == blessed
    assert (Path(judge.blessing.uri) / ("BLESSED" if blessed else "NOT_BLESSED")).exists()
    assert {s.feature for s in ours.slices} == {"label", COLUMN}


def test_a_baseline_that_numbers_its_classes_otherwise_is_compared_by_name(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = judge.copied("digits-pytorch") / SERVING_FORMAT
    before = judge.judge(served(directory), max_regression=0.0)
    # The SavedModel still numbers them as before, so only its own scores are not asked for.
    monkeypatch.setattr("modelstore.engines.SavedModel.scores_of_files", _reversed)
    judge.predict_baseline(served(reordered(directory)))
    after = judge.evaluate(max_regression=0.0)
    assert after.baseline_value == before.baseline_value is not None
    assert after.failures == before.failures


def _reversed(saved_model: Any, files: list[bytes]) -> Any:
    return saved_model.scores(saved_model.decode(files))[:, ::-1]


def test_what_cannot_be_compared_with_is_not_blessed(judge: Judge) -> None:
    why = "its classes are others"
    found = judge.judge(Baseline(state="unusable", version="m@1", why=why))
    assert (found.blessed, found.failures, found.baseline_value) == (False, (why,), None)
    assert (Path(judge.blessing.uri) / "NOT_BLESSED").exists()
    assert not (Path(judge.beside.uri) / "predictions.json").exists()


def other_model(judge: Judge) -> str:
    (judge.directory / "native" / "spec.json").write_text("{}")
    return "predictions of another model"


def other_split(judge: Judge) -> str:
    path = Path(judge.predictions.uri) / "predictions.json"
    (path.parent / f"{SPLIT}.parquet").rename(path.parent / "val.parquet")
    write_json(path, {**read_json(path), "split": "val"})
    return "expected 184 of 'test'"


def fewer_rows(judge: Judge) -> str:
    path = Path(judge.predictions.uri) / "predictions.json"
    write_json(path, {**read_json(path), "images": 3})
    return "has 184 rows; expected 3"


def fewer_examples(judge: Judge) -> str:
    import tensorflow as tf

    copy = judge.root / "fewer"
    shutil.copytree(judge.examples.uri, copy)
    (file,) = (copy / f"Split-{SPLIT}").iterdir()
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(file), "GZIP")]
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for record in records[1:]:
            writer.write(record)
    judge.examples.uri = str(copy)
    return "predictions of 184 images of the split 'test'; expected 183"


def other_images_beside(judge: Judge) -> str:
    judge.predict_baseline(served(judge.directory))
    path = Path(judge.beside.uri) / "predictions.json"
    write_json(path, {**read_json(path), "images_digest": "0"})
    return "predictions of other images"


def other_model_beside(judge: Judge) -> str:
    judge.predict_baseline(served(judge.directory))
    path = Path(judge.beside.uri) / "baseline.json"
    write_json(path, {**read_json(path), "digest": "0"})
    return "predictions of another model than m@1"


def no_predictions(judge: Judge) -> str:
    (Path(judge.predictions.uri) / "predictions.json").unlink()
    return "holds no predictions that can be read"


@pytest.mark.parametrize(
    "spoil",
    [
        *(other_model, other_split, fewer_rows, fewer_examples),
        *(other_images_beside, other_model_beside, no_predictions),
    ],
)
def test_what_does_not_belong_together_is_refused(
    judge: Judge, spoil: Callable[[Judge], str]
) -> None:
    judge.predict()
    judge.predict_baseline(Baseline(state="first"))
    reason = spoil(judge)
    with pytest.raises(DataError, match=reason):
        judge.evaluate()
    assert not [*Path(judge.blessing.uri).iterdir()]


def test_a_baseline_that_changes_while_it_is_read_is_refused(judge: Judge) -> None:
    directory = judge.copied("digits-keras") / SERVING_FORMAT
    baseline = served(directory)
    (directory / "native" / "spec.json").write_text("{}")
    with pytest.raises(DataError, match=r"was changed while it was read"):
        judge.predict_baseline(baseline)
