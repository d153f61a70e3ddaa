"""One Keras model in training, and one loaded for prediction.

Shape suffixes: N batch, H height, W width, C classes, 3 colour channels.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.errors import ConfigError
from modelstore.tasks import DEFAULT
from trainers.config import TrainConfig
from trainers.contract import Arrays, Batch, Floats, Images, StepResult
from trainers.keras_backend import augment, export
from trainers.keras_backend.tasks import OPS
from trainers.keras_backend.updates import Updates
from trainers.own_models import described
from trainers.updates import average_decay

MODEL_FILE = "model.keras"
SPEC_FILE = "spec.json"

PIXELS_AT_ONCE = 2**22
"""Pixels of a prediction batch: 64 images of 256×256."""


class KerasPredictor:
    """A model that is not trained further."""

    def __init__(self, model: Any, spec: dict[str, Any]) -> None:
        self.model = model
        self._spec = spec
        self._task: str = spec.get("task", DEFAULT)
        _, height, width, _ = model.input_shape
        self._at_once = int(np.clip(PIXELS_AT_ONCE // (height * width), 1, 256))

    @functools.cached_property
    def _scores(self) -> Callable[[Any], Any]:
        # A concrete function, as TensorFlow takes the traces of several models
        # for retracing of one and warns; traced when it is first needed.
        return self._scores_function().get_concrete_function()  # type: ignore[no-any-return]

    def _scores_function(self) -> Any:
        mirrored = self._spec.get("test_time_augmentation") == "flip"
        return scores_function(self.model, self._task, mirrored=mirrored)

    def predict(self, images_NHW3: Images) -> Floats:
        """Class probabilities, float32 N×C; computed in batches of bounded size."""
        starts = range(0, len(images_NHW3), self._at_once)
        parts = [
            self._scores(tf.constant(images_NHW3[i : i + self._at_once])).numpy() for i in starts
        ]
        if not parts:
            return np.zeros((0, self.model.output_shape[-1]), np.float32)
        return np.concatenate(parts)


class KerasLearner(KerasPredictor):
    """A model and its optimizer (see trainers.contract.Learner)."""

    def __init__(self, model: Any, config: TrainConfig, spec: dict[str, Any]) -> None:
        super().__init__(model, spec)
        self._updates = Updates(model, config)
        self._ema_decay = config.ema_decay
        self._steps_taken = 0
        self._loss_N = OPS[config.task].loss(config)
        self._steps: dict[tuple[augment.Key, bool], Callable[..., Any]] = {}
        self.parameter_count = parameter_count(model)

    def train_step(self, batch: Batch, learning_rate: float) -> StepResult:
        """One step of the optimizer on the loss of `contract.Batch`.

        The loss is the contract's alone: weight penalties that a model's own
        layers ask for are not added to it.
        """
        self._steps_taken += batch.update
        rates = (
            tf.constant(learning_rate, tf.float32),
            tf.constant(average_decay(self._ema_decay, self._steps_taken), tf.float32),
        )
        key, parts = augment.parts(batch.augmentation)
        if batch.teacher_NC is not None:
            parts = [tf.constant(batch.teacher_NC, tf.float32), *parts]
        loss, metric_sum = self._step((key, batch.teacher_NC is not None))(
            tf.constant(batch.images_NHW3),
            tf.constant(batch.labels_N, tf.int64),
            tf.constant(batch.targets_NC, tf.float32),
            tf.constant(batch.weights_N, tf.float32),
            *rates,
            *parts,
        )
        if self._updates.accumulates and batch.update:
            self._step_added(*rates)
        return StepResult(loss=float(loss), metric_sum=float(metric_sum))

    def snapshot(self) -> Arrays:
        return _values("weight", self.model.weights)

    def restore(self, snapshot: Arrays) -> None:
        _assign("weight", self.model.weights, snapshot)

    def state(self) -> Arrays:
        # The model's variables are its weights and its layers' random generators.
        arrays = _values("model", self.model.variables) | {"steps": np.array(self._steps_taken)}
        return arrays | _values("update", self._updates.variables)

    def set_state(self, state: Arrays) -> None:
        _assign("model", self.model.variables, state)
        _assign("update", self._updates.variables, state)
        self._steps_taken = int(state["steps"])

    def exchange_average(self) -> None:
        assert self._updates.average is not None
        self._updates.average.exchange()

    def save(self, directory: Path) -> None:
        self.model.save(directory / MODEL_FILE)
        (directory / SPEC_FILE).write_text(json.dumps(self._spec, indent=2) + "\n", "utf-8")

    def prepare_export(self) -> None:
        """Tries what may fail with a model that nobody has exported yet: one of the user's own."""
        if ":" not in self._spec["model"]:
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.to_onnx(Path(folder, "model.onnx"))
            except Exception as e:
                raise ConfigError(
                    f"model: {self._spec['model']} cannot be exported as ONNX, which serving "
                    f"needs: {described(e)} Use other operations."
                ) from e

    def to_tensorflow(self) -> export.Scores:
        return export.Scores(self.model, self._scores_function())

    def to_onnx(self, path: Path) -> None:
        export.write_onnx(self._scores_function(), path)

    def _step(self, given: tuple[augment.Key, bool]) -> Callable[..., Any]:
        """The compiled step for these parts of an augmentation and a teacher, any batch size."""
        key, is_taught = given
        if given not in self._steps:
            _, height, width, _ = self.model.input_shape
            classes = self.model.output_shape[-1]
            signature = [
                tf.TensorSpec((None, height, width, 3), tf.uint8),
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((None, classes), tf.float32),
                tf.TensorSpec((None,), tf.float32),
                *(_SCALAR, _SCALAR),
                *[tf.TensorSpec((None, classes), tf.float32)] * is_taught,
                *augment.signature(key, (height, width)),
            ]

            def step(
                images: Any,
                labels: Any,
                targets: Any,
                weights: Any,
                rate: Any,
                kept: Any,
                *others: Any,
            ) -> Any:
                teacher, parts = (others[0], others[1:]) if is_taught else (None, others)
                changed = augment.apply(images, key, parts)
                return self._traced_step(changed, labels, targets, weights, rate, kept, teacher)

            self._steps[given] = tf.function(
                step, input_signature=signature, autograph=False, jit_compile=False
            ).get_concrete_function()
        return self._steps[given]

    @functools.cached_property
    def _step_added(self) -> Callable[..., Any]:
        """The compiled step of the gradients of several batches."""
        return tf.function(  # type: ignore[no-any-return]
            self._updates.step_added, input_signature=[_SCALAR, _SCALAR], autograph=False
        ).get_concrete_function()

    def _traced_step(
        self,
        images: Any,
        labels: Any,
        targets: Any,
        weights: Any,
        rate: Any,
        kept: Any,
        teacher: Any | None,
    ) -> Any:
        task, updates = OPS[self._task], self._updates
        weight = tf.reduce_sum(weights)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(updates.trainable)
            logits = self.model(images, training=True)
            loss_sum = tf.reduce_sum(weights * self._loss_N(logits, targets, teacher))
            # 0 for a batch that weighs nothing.
            loss = tf.math.divide_no_nan(loss_sum, weight)
        found = tape.gradient(
            loss_sum if updates.accumulates else loss,
            updates.trainable,
            unconnected_gradients="zero",
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in found]
        if updates.accumulates:
            updates.add(gradients, weight)
        else:
            updates.step(gradients, rate, kept)
        return loss, task.metric_sum(logits, labels)


def _values(kind: str, variables: list[Any]) -> Arrays:
    return {f"{kind}/{i}": np.array(tf.convert_to_tensor(v)) for i, v in enumerate(variables)}


def _assign(kind: str, variables: list[Any], values: Arrays) -> None:
    for index, variable in enumerate(variables):
        dtype = tf.convert_to_tensor(variable).dtype.as_numpy_dtype
        variable.assign(values[f"{kind}/{index}"].view(dtype))  # files do not know bfloat16


_SCALAR = tf.TensorSpec((), tf.float32)


def load_model(directory: Path) -> tuple[Any, dict[str, Any]]:
    """The `keras.Model` in a folder that `KerasLearner.save` wrote, and its spec."""
    path = directory / MODEL_FILE
    if not path.is_file():
        raise ConfigError(f"No {MODEL_FILE} in {directory}. Give the folder of a saved model.")
    spec = json.loads((directory / SPEC_FILE).read_text("utf-8"))
    name = spec["model"]
    if ":" in name:
        # Classes that the user's module registers must be known to load it;
        # a model of standard layers loads without the module.
        with contextlib.suppress(ImportError):
            importlib.import_module(name.partition(":")[0])
    return keras.saving.load_model(path, compile=False), spec


def scores_function(model: Any, task: str, *, mirrored: bool = False) -> Any:
    """A `tf.function` from uint8 images N×H×W×3 to the task's scores, float32 N×C.

    Args:
      mirrored: scores are the mean of those of an image and of its mirror image.
    """

    def scores(images: Any) -> Any:
        images = tf.cast(images, tf.float32)
        result = OPS[task].scores(model(images, training=False))
        if mirrored:
            others = OPS[task].scores(model(images[:, :, ::-1], training=False))
            result = (result + others) / 2
        return result

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")]
    return tf.function(scores, input_signature=signature, autograph=False, jit_compile=False)


def parameter_count(model: Any) -> int:
    """Trainable weights of a Keras model."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)
