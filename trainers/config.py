"""What a training run can be told; the Trainer's one JSON property.

The same config drives every backend, and every value has the same meaning in
each of them (see docs/training.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from common.config.ranges import MOST_THREADS, at_least, between, filled, matching, more_than
from common.config.strict import Checked, dump
from trainers.frameworks import get_framework

Share = Annotated[float, between(0, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig(Checked):
    """Random changes to training images (`trainers.augment` draws them)."""

    horizontal_flip: bool = True
    """Half of the images, drawn at random, are mirrored."""
    crop_padding: Annotated[float, between(0, 0.5)] = 0.125
    """Random shift, as a padded random crop: fraction of the image size."""
    rotation: Annotated[float, between(0, 180)] = 0.0
    """Largest rotation either way, in degrees."""
    zoom: Annotated[float, between(0, 0.9)] = 0.0
    """Largest relative zoom either way: 0.1 draws scales from 0.9 to 1.1."""
    brightness: Share = 0.0
    """Largest relative change, as for saturation."""
    contrast: Share = 0.0
    """Largest relative change, as for saturation."""
    saturation: Share = 0.0
    """Largest relative colour changes: 0.2 draws factors from 0.8 to 1.2."""

    @property
    def enabled(self) -> bool:
        """Says whether anything is changed."""
        return any(dump(self).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Checked):
    """How one model is trained."""

    task: Literal["classification"] = "classification"
    """What is told of an image; classification: exactly one class."""
    framework: str
    """This framework trains: keras, pytorch or another that `visionline models` lists."""
    model: Annotated[str, filled("a model's name")]
    """This model is trained: one that `visionline models` lists, or "package.module:function"."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments handed to the model's builder."""
    pretrained: str | None = None
    """Local weights to start from; nothing is ever downloaded."""
    input: Annotated[
        str,
        matching(
            r"arrays|stream|[^:\s]+:[^:\s]+", '"arrays", "stream" or "package.module:function"'
        ),
    ] = "arrays"
    """Where training images come from, see docs/training-input.md.  arrays: written once by
    ArrayGen; stream: the examples' shards, decoded in each epoch; or your own function."""
    input_args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments handed to your own input function."""
    augment_input: bool = False
    """What your own input function gives is augmented as [train.augment] says, too."""
    shuffle_buffer: Annotated[int, at_least(1)] = 10_000
    """Encoded images that wait, with input = "stream", for each of a batch to be drawn from."""
    epochs: Annotated[int, at_least(1)] = 10
    """Training goes through its images so many times."""
    batch_size: Annotated[int, at_least(1)] = 64
    """Each training step takes so many images."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The same arithmetic in both frameworks, see docs/training.md."""
    learning_rate: Annotated[float, more_than(0)] = 1e-3
    """The cosine schedule of the learning rate peaks here."""
    warmup_epochs: Annotated[float, at_least(0)] = 1.0
    """Epochs of linear warm-up, capped at a fifth of the training."""
    weight_decay: Annotated[float, at_least(0)] = 1e-4
    """Decoupled for adamw, L2 for sgd; never on biases and norm parameters."""
    momentum: Annotated[float, at_least(0, below=1)] = 0.9
    """Of sgd; adamw does not use it."""
    label_smoothing: Annotated[float, at_least(0, below=1)] = 0.0
    """Share of the target spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, at_least(0)]] = "none"
    """"balanced": images / (classes × images of the class), or one per class."""
    early_stopping_patience: Annotated[int, at_least(0)] = 0
    """Epochs without a better validation loss before training stops; 0: off.
    The weights of the best epoch are kept in either case."""
    golden: Literal["drawn", "validation"] = "drawn"
    """The images in golden.npz, which every pushed version carries wherever it goes:
    drawn ones, or the first of the validation split, on purpose."""
    seed: Annotated[int, between(0, 2**32 - 1)] = 0
    """The weights, the order of the images and the augmentation are drawn from this."""
    threads: Annotated[int, between(0, MOST_THREADS)] = 0
    """CPU threads of the training process; 0: all it may use."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def check(self) -> None:
        get_framework(self.framework)  # raises ConfigError where there is none of that name
