"""The contract between the pipeline and a framework: NumPy at the boundary.

A backend is a module (`trainers/<framework>_backend/backend.py`, or `backend` of an
installed package, see `trainers.frameworks`) with the functions of `Backend`; the
training loop (`trainers.loop`), the export (`trainers.export`) and everything above
them know no framework.
One suite of contract tests (tests/trainers/test_backend_contract.py) runs on each.

Shape suffixes: N batch, H height, W width, C classes, 3 colour channels (RGB).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from trainers.config import TrainConfig
from trainers.frameworks import get_framework

Images = NDArray[np.uint8]
"""uint8 N×H×W×3, RGB, 0 to 255."""
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
"""Copies in main memory, by names that say which is which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """One draw of random changes for a batch; the same for every framework.

    Applied in the order of the fields, to colours from 0 to 1; None: left out.
    `trainers.augment.reference` does it in NumPy.
    """

    affine_N23: Floats | None = None
    """Maps an output pixel (x, y, 1) to the input pixel (x, y) it is read from, bilinearly;
    pixel centres lie at whole numbers."""
    reflect: bool = False
    """Whether the warp sees the image mirrored at its edges outside of it, or black."""
    colour_N34: Floats | None = None
    """Maps (r, g, b, 1) to new colours, which are then clipped to 0..1."""
    sharpness_N: Floats | None = None
    """Moves each pixel from a blurred one (0) through itself (1) and beyond, clipped to 0..1;
    the outermost pixels stay.  Blurred: the mean of 3×3 pixels, the middle counted five times."""
    erase: Erase | None = None
    mix: Mix | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """Rectangles that are painted over."""

    boxes_NB4: NDArray[np.int32]
    """Top, bottom, left, right: first row and column, and those after the last; may be empty."""
    paint_HW3: Floats
    """Colours that are seen in the rectangles instead."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Each image blended with another one of its batch, within one rectangle."""

    partner_N: NDArray[np.int32]
    """The other image's place in the batch."""
    box_4: NDArray[np.int32]
    """Top, bottom, left, right; mixup: the whole image."""
    share: float
    """Of the image itself within the rectangle; cutmix: 0."""

    def own(self, image_size: tuple[int, int]) -> float:
        """Returns the share that the image itself has in the whole."""
        top, bottom, left, right = (int(x) for x in self.box_4)
        area = (bottom - top) * (right - left) / (image_size[0] * image_size[1])
        return 1 - (1 - self.share) * area


@dataclass(frozen=True, slots=True)
class Batch:
    """What one training step sees."""

    images_NHW3: Images
    labels_N: Labels
    """What the headline metric is measured against; of mixed images the larger share's."""
    targets_NC: Floats
    """What the loss is measured against: rows that sum to one, label smoothing included."""
    weights_N: Floats
    """Class weight of each image; the loss is sum(w·loss) / sum(w)."""
    augmentation: Augmentation | None
    teacher_NC: Floats | None = None
    """What a teacher answers at `distillation.temperature`: rows that sum to one."""
    places_N: Labels | None = None
    """Where the images stand in their split, from 0, so that an error can name them."""
    update: bool = True
    """The weights move now, by the gradients of all batches since they last did, as if these
    were one batch; else the gradients are only added up (`TrainConfig.accumulate_steps`)."""


@dataclass(frozen=True, slots=True)
class StepResult:
    loss: float
    """Weighted mean of `train.loss` against the batch's targets.  With a teacher it is
    (1 - alpha) · loss + alpha · temperature² · KL(teacher ‖ softmax(logits / temperature))."""
    metric_sum: float
    """The task's headline metric, summed over the batch: of a classification the images
    whose largest logit was their label's."""


class Predictor(Protocol):
    def predict(self, images_NHW3: Images) -> Floats:
        """Class probabilities, float32 N×C, rows summing to one."""
        ...


class Learner(Predictor, Protocol):
    """One model in training."""

    parameter_count: int
    """Trainable weights, as timm counts them (no running statistics)."""

    def prepare_export(self) -> None:
        """Does of an export what needs no trained weights; called before the first step.

        Raises:
          ConfigError: the model cannot be exported.
        """
        ...

    def train_step(self, batch: Batch, learning_rate: float) -> StepResult: ...

    def exchange_average(self) -> None:
        """Exchanges weights and running statistics with their moving average, in place.

        Done twice all is as before.  Never called where `TrainConfig.ema_decay` is 0.
        """
        ...

    def snapshot(self) -> Arrays:
        """A copy of the weights, running statistics among them, for `restore`."""
        ...

    def restore(self, snapshot: Arrays) -> None: ...

    def state(self) -> Arrays:
        """A copy of all that the next step depends on besides the config and its batch.

        Weights, the optimizer's slots and counters, a moving average, the framework's
        random generators; those of Python and NumPy are the loop's.
        """
        ...

    def set_state(self, state: Arrays) -> None:
        """Takes what `state` returned, of a learner of the same config in another process.

        On a CPU the steps that follow are the same to the bit.
        """
        ...

    def save(self, directory: Path) -> None:
        """Writes the native model into an existing, empty directory."""
        ...

    def to_tensorflow(self) -> Any:
        """The model, as it is now, as a `tf.Module`.

        Calling it maps uint8 [N,H,W,3] (N unknown) to probabilities, float32
        [N,C]; it can be saved in a SavedModel that loads with TensorFlow alone.
        """
        ...

    def to_onnx(self, path: Path) -> None:
        """Writes the model, as it is now, as ONNX: "images" uint8 [N,H,W,3] to "scores" [N,C]."""
        ...


class Backend(Protocol):
    def configure(self, *, threads: int, seed: int) -> str:
        """Sets thread pools and random seeds, once, before anything else.

        Returns:
          The accelerator in words, such as "cpu" or the GPU's name.
        """
        ...

    def versions(self) -> dict[str, str]:
        """Package versions that matter for this backend."""
        ...

    def build(
        self, config: TrainConfig, *, num_classes: int, image_size: tuple[int, int]
    ) -> Learner:
        """Builds the model and its optimizer.

        Args:
          image_size: height and width of the images, in pixels.

        Raises:
          ConfigError: unknown model, arguments it refuses, weights that do
            not fit, an image size it cannot take.
        """
        ...

    def count_parameters(self, model: str, *, num_classes: int, image_size: tuple[int, int]) -> int:
        """Trainable weights of a model by name (see `Learner.parameter_count`)."""
        ...

    def load(self, directory: Path) -> Predictor:
        """The native model that `Learner.save` wrote."""
        ...


def load_backend(name: str) -> Backend:
    """Imports the backend of a framework (seconds: it imports the framework)."""
    return cast("Backend", importlib.import_module(get_framework(name).package + ".backend"))
