"""One Keras model in training, and one loaded for prediction.

Shape suffixes: N batch, H height, W width, C classes, 3 colour channels.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
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
from trainers.contract import Arrays, Augmentation, Batch, Floats, Images, StepResult
from trainers.keras_backend import export
from trainers.keras_backend.tasks import OPS
from trainers.keras_backend.updates import Updates
from trainers.own_models import described
from trainers.updates import average_decay

MODEL_FILE = "model.keras"
SPEC_FILE = "spec.json"

PIXELS_AT_ONCE = 2**22
"""Pixels of a prediction batch: 64 images of 256×256."""


def _augmented(images_NHW3: Any, affine_N23: Any | None, colour_N34: Any | None) -> Any:
    """float32 N×H×W×3, 0 to 255 (see trainers.contract.Augmentation)."""
    images = tf.cast(images_NHW3, tf.float32)
    if affine_N23 is not None:
        images = _warped(images, affine_N23)
    if colour_N34 is not None:
        colours = tf.einsum("nhwc,ndc->nhwd", images, colour_N34[:, :, :3])
        offset = 255.0 * colour_N34[:, None, None, :, 3]
        images = tf.clip_by_value(colours + offset, 0.0, 255.0)
    return images


def _warped(images: Any, affine_N23: Any) -> Any:
    # The kernel takes the first eight numbers of a 3×3 matrix row by row.
    rows_N6 = tf.reshape(affine_N23, (-1, 6))
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.pad(rows_N6, [[0, 0], [0, 2]]),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


class KerasPredictor:
    """A model that is not trained further."""

    def __init__(self, model: Any, task: str) -> None:
        self.model = model
        self._task = task
        _, height, width, _ = model.input_shape
        self._at_once = int(np.clip(PIXELS_AT_ONCE // (height * width), 1, 256))

    @functools.cached_property
    def _scores(self) -> Callable[[Any], Any]:
        # A concrete function, as TensorFlow takes the traces of several models
        # for retracing of one and warns; traced when it is first needed.
        return scores_function(self.model, self._task).get_concrete_function()  # type: ignore[no-any-return]

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
        super().__init__(model, config.task)
        self._spec = spec
        self._updates = Updates(model, config)
        self._ema_decay = config.ema_decay
        self._steps_taken = 0
        self._loss_N = OPS[config.task].loss(config)
        self._steps: dict[tuple[bool, ...], Callable[..., Any]] = {}
        self.parameter_count = parameter_count(model)

    def train_step(self, batch: Batch, learning_rate: float) -> StepResult:
        """One step of the optimizer on the loss of `contract.Batch`.

        The loss is the contract's alone: weight penalties that a model's own
        layers ask for are not added to it.
        """
        changes = batch.augmentation or Augmentation(None, None)
        parts = (changes.affine_N23, changes.colour_N34, batch.teacher_NC)
        self._steps_taken += batch.update
        rates = (
            tf.constant(learning_rate, tf.float32),
            tf.constant(average_decay(self._ema_decay, self._steps_taken), tf.float32),
        )
        loss, metric_sum = self._step(tuple(part is not None for part in parts))(
            tf.constant(batch.images_NHW3),
            tf.constant(batch.labels_N, tf.int64),
            tf.constant(batch.targets_NC, tf.float32),
            tf.constant(batch.weights_N, tf.float32),
            *rates,
            *(tf.constant(part, tf.float32) for part in parts if part is not None),
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
        return export.Scores(self.model, scores_function(self.model, self._task))

    def to_onnx(self, path: Path) -> None:
        export.write_onnx(scores_function(self.model, self._task), path)

    def _step(self, given: tuple[bool, ...]) -> Callable[..., Any]:
        """The compiled step for any batch size, with these of warps, colours and a teacher."""
        if given not in self._steps:
            _, height, width, _ = self.model.input_shape
            classes = self.model.output_shape[-1]
            signature = [
                tf.TensorSpec((None, height, width, 3), tf.uint8),
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((None, classes), tf.float32),
                tf.TensorSpec((None,), tf.float32),
                _SCALAR,
                _SCALAR,
            ]
            shapes = ((None, 2, 3), (None, 3, 4), (None, classes))
            signature += [tf.TensorSpec(s, tf.float32) for s in itertools.compress(shapes, given)]

            def step(images: Any, *fixed_and_parts: Any) -> Any:
                fixed, following = fixed_and_parts[:5], iter(fixed_and_parts[5:])
                affine, colour, teacher = (next(following) if is_ else None for is_ in given)
                return self._traced_step(_augmented(images, affine, colour), *fixed, teacher)

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


def load_model(directory: Path) -> tuple[Any, str]:
    """The `keras.Model` in a folder that `KerasLearner.save` wrote, and its task."""
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
    return keras.saving.load_model(path, compile=False), spec.get("task", DEFAULT)


def scores_function(model: Any, task: str) -> Any:
    """A `tf.function` from uint8 images N×H×W×3 to the task's scores, float32 N×C."""

    def scores(images: Any) -> Any:
        return OPS[task].scores(model(tf.cast(images, tf.float32), training=False))

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")]
    return tf.function(scores, input_signature=signature, autograph=False, jit_compile=False)


def parameter_count(model: Any) -> int:
    """Trainable weights of a Keras model."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)
