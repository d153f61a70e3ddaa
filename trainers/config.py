"""What a training run can be told; the Trainer's one JSON property.

The same config drives every backend, and every value has the same meaning in
each of them (see docs/training.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from common.config.ranges import MOST_THREADS, at_least, between, filled, more_than, require
from common.config.strict import Checked
from common.errors import ConfigError
from trainers.frameworks import get_framework

Share = Annotated[float, between(0, 1)]
Portion = Annotated[float, more_than(0, at_most=1)]
Ratio = Annotated[float, more_than(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig(Checked):
    """Random changes to training images (`trainers.augment` draws them, docs/augmentation.md)."""

    horizontal_flip: Literal[True, False, "alternating"] = True
    """Half of the images, drawn at random, are mirrored; "alternating": each image in every
    other epoch, beginning with a half that the seed decides."""
    vertical_flip: bool = False
    """Half of the images, drawn at random, are turned upside down."""
    crop_padding: Annotated[float, between(0, 0.5)] = 0.125
    """Random shift, as a padded random crop: fraction of the image size. random_resized_crop
    takes its place."""
    random_resized_crop: bool = False
    """A random part of each image is stretched to the whole, in place of crop_padding."""
    crop_scale: tuple[Portion, Portion] = (0.08, 1.0)
    """Least and largest area of random_resized_crop, as shares of the image's."""
    crop_ratio: tuple[Ratio, Ratio] = (0.75, 4 / 3)
    """Least and largest width / height of random_resized_crop."""
    rotation: Annotated[float, between(0, 180)] = 0.0
    """Largest rotation either way, in degrees."""
    zoom: Annotated[float, between(0, 0.9)] = 0.0
    """Largest relative zoom either way: 0.1 draws scales from 0.9 to 1.1."""
    fill: Literal["black", "reflect"] = "black"
    """What lies outside of an image that is shifted, turned or sheared."""
    brightness: Share = 0.0
    """Largest relative change, as for saturation."""
    contrast: Share = 0.0
    """Largest relative change, as for saturation."""
    saturation: Share = 0.0
    """Largest relative colour changes: 0.2 draws factors from 0.8 to 1.2."""
    hue: Annotated[float, between(0, 0.5)] = 0.0
    """Largest turn of the colours either way, 0.5 being half of the circle."""
    grayscale: Share = 0.0
    """Probability that an image loses its colours."""
    auto: Literal["none", "trivial", "rand"] = "none"
    """A published policy on top: "trivial": TrivialAugment (wide), one change per image;
    "rand": RandAugment, rand_ops changes of rand_magnitude."""
    rand_ops: Annotated[int, between(1, 8)] = 2
    """RandAugment's changes per image."""
    rand_magnitude: Annotated[int, between(0, 30)] = 9
    """RandAugment's strength of every change, 30 being the largest."""
    random_erasing: Share = 0.0
    """Probability that a rectangle of an image is erased."""
    erasing_scale: tuple[Portion, Portion] = (0.02, 1 / 3)
    """Least and largest area of random_erasing, as shares of the image's."""
    erasing_ratio: tuple[Ratio, Ratio] = (0.3, 1 / 0.3)
    """Least and largest width / height of random_erasing."""
    cutout: Share = 0.0
    """Every image loses a square that may reach over its edges: side as a share of the
    image's shorter one; 0: off."""
    erasing_fill: Literal["grey", "noise"] = "grey"
    """What random_erasing and cutout leave."""
    mixup: Annotated[float, at_least(0)] = 0.0
    """Pairs of images are blended, their shares drawn from Beta(mixup, mixup); 0: off. With
    cutmix too, half of the batches get each."""
    cutmix: Annotated[float, at_least(0)] = 0.0
    """A rectangle of an image comes from another one, its area drawn from
    Beta(cutmix, cutmix); 0: off."""
    off_epochs: Annotated[int, at_least(0)] = 0
    """So many epochs at the end see the images as they are."""

    def check(self) -> None:
        for name in ("crop_scale", "crop_ratio", "erasing_scale", "erasing_ratio"):
            least, most = getattr(self, name)
            require(
                least <= most,
                f"augment.{name}: expected the smaller number first, got [{least}, {most}].",
            )

    @property
    def enabled(self) -> bool:
        """Says whether anything is changed."""
        return bool(self.parts)

    @property
    def parts(self) -> frozenset[str]:
        """What a backend must be able to apply for this (`trainers.frameworks.APPLIES`).

        "tones" are applied before a backend sees the images.
        """
        auto = self.auto != "none"
        shifts = self.crop_padding or self.random_resized_crop or self.rotation or self.zoom
        warp = bool(self.horizontal_flip or self.vertical_flip or shifts or auto)
        colours = self.brightness or self.contrast or self.saturation or self.hue or self.grayscale
        found = {
            "warp": warp,
            "reflection": warp and self.fill == "reflect",
            "colours": bool(colours or auto),
            "sharpness": auto,
            "erasing": bool(self.random_erasing or self.cutout),
            "mixing": bool(self.mixup or self.cutmix),
        }
        return frozenset(name for name, there in found.items() if there)


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
    test_time_augmentation: Literal["none", "flip"] = "none"
    """"flip": the model's scores are the mean of those of an image and of its mirror image,
    wherever it is evaluated or served; an answer takes twice as long."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def augment_in(self, epoch: int) -> AugmentConfig | None:
        """Returns what changes the images of an epoch, from 1 on; None: nothing does."""
        on = self.augment.enabled and epoch <= self.epochs - self.augment.off_epochs
        return self.augment if on else None

    def check(self) -> None:
        framework = get_framework(self.framework)  # raises ConfigError for one that is not there
        augment = self.augment
        require(
            augment.off_epochs < self.epochs or not augment.off_epochs,
            f"train.augment.off_epochs: expected fewer than train.epochs ({self.epochs}), "
            f"got {augment.off_epochs}. Switch augmentation off instead.",
        )
        require(
            self.batch_size > 1 or not (augment.mixup or augment.cutmix),
            "train.augment.mixup and cutmix: expected a train.batch_size of 2 or more, got 1: "
            "images are mixed with others of their batch.",
        )
        needed = augment.parts | ({"mirror"} if self.test_time_augmentation == "flip" else set())
        if missing := sorted(needed - framework.applies):
            raise ConfigError(
                f"train.augment: the framework {self.framework} cannot apply "
                f"{', '.join(missing)} (it can: {', '.join(sorted(framework.applies))}). "
                "Switch off what needs it, see docs/augmentation.md, or use another framework."
            )
