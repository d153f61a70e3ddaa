"""What a training run can be told; the Trainer's one JSON property.

The same config drives every backend, and every value has the same meaning in
each of them (see docs/training.md).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, Literal

from common.config.ranges import (
    MOST_THREADS,
    at_least,
    between,
    filled,
    matching,
    more_than,
    require,
)
from common.config.strict import Checked
from common.errors import ConfigError
from trainers.frameworks import OPTIONAL, get_framework

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
class CheckpointConfig(Checked):
    """How often a training is kept, so that the same command goes on after it was killed."""

    every_minutes: Annotated[float, at_least(0)] = 1.0
    """At most so often, and seldom enough to take 2 % of the time; 0: by steps alone."""
    every_steps: Annotated[int, at_least(0)] = 0
    """After each so many steps, whatever it takes, in place of the minutes; 0: by minutes."""
    keep: Annotated[int, at_least(1)] = 2
    """So many stay, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig(Checked):
    """How the learning rate goes on after the warm-up (`trainers.schedules`)."""

    name: Literal["constant", "step", "cosine", "one_cycle", "wsd"] = "cosine"
    """constant; step: falls at once, again and again; cosine: falls on half a cosine; one_cycle:
    rises and falls on half cosines, without train.warmup_epochs; wsd: stays at its peak, then
    decays. See docs/training.md."""
    final: Annotated[float, between(0, 1)] = 0.0
    """Of cosine, one_cycle and wsd: they end at this share of the peak."""
    milestones: tuple[Annotated[float, more_than(0)], ...] = ()
    """Of step: the rate falls after so many epochs each, from the start of the training."""
    every_epochs: Annotated[float, at_least(0)] = 0.0
    """Of step, instead of milestones: it falls each time so many epochs are over."""
    factor: Annotated[float, more_than(0, at_most=1)] = 0.1
    """Of step: the rate is multiplied by this each time."""
    cycles: Annotated[int, at_least(1)] = 1
    """Of cosine: it falls so many times, each as long; with each the rate is at the peak again."""
    cycle_decay: Annotated[float, more_than(0, at_most=1)] = 1.0
    """Of cosine: each cycle peaks at this share of the one before."""
    start: Annotated[float, between(0, 1)] = 0.04
    """Of one_cycle: it starts at this share of the peak."""
    rise_share: Annotated[float, between(0, 1)] = 0.3
    """Of one_cycle: the rate rises in this share of the training."""
    decay_share: Annotated[float, more_than(0, at_most=1)] = 0.2
    """Of wsd: the rate decays in this share of the training, its last."""

    def check(self) -> None:
        for key in self.__slots__:
            users = _SCHEDULES_WITH.get(key, ())
            require(
                self.name in users or key == "name" or not _is_changed(self, key),
                f"{key}: expected only with the schedule {' or '.join(users)}, got it with "
                f"{self.name}. Leave it out, or change the schedule's name.",
            )
        require(
            self.name != "step" or bool(self.milestones) != bool(self.every_epochs),
            "milestones: expected either these or every_epochs with the schedule step, to say when "
            "the learning rate falls.",
        )


_SCHEDULES_WITH = {
    "final": ("cosine", "one_cycle", "wsd"),
    **dict.fromkeys(("milestones", "every_epochs", "factor"), ("step",)),
    **dict.fromkeys(("cycles", "cycle_decay"), ("cosine",)),
    **dict.fromkeys(("start", "rise_share"), ("one_cycle",)),
    "decay_share": ("wsd",),
}
"""The schedules by the key that they look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig(Checked):
    """A pushed model that a new one learns from (`trainers.teacher`)."""

    model: str | None = None
    """The teacher: a version's folder such as serving/photos/3, or serving/photos@3, or
    serving/photos for its newest; without it nothing is distilled."""
    alpha: Share = 0.5
    """The teacher's share of the loss; the labels have the rest."""
    temperature: Annotated[float, more_than(0)] = 2.0
    """The logits of both are divided by this before they are compared."""

    def check(self) -> None:
        require(
            self.model is not None
            or not (_is_changed(self, "alpha") or _is_changed(self, "temperature")),
            "model: expected the teacher beside alpha and temperature, got none.",
        )


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
    lower_batch_size: bool = False
    """Where memory runs out, the training starts again with half as many images in a step."""
    accumulate_steps: Annotated[int, at_least(1)] = 1
    """The gradients of so many batches make one step, as one batch so many times as large would;
    BatchNorm alone sees the small ones. The schedule counts these steps."""
    optimizer: Literal["adamw", "adam", "sgd", "lamb", "lion", "muon"] = "adamw"
    """The same arithmetic in both frameworks, see docs/optimization.md."""
    learning_rate: Annotated[float, more_than(0)] = 1e-3
    """The schedule of the learning rate peaks here."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    warmup_epochs: Annotated[float, at_least(0)] = 1.0
    """Epochs of linear warm-up, capped at a fifth of the training; one_cycle has its own rise."""
    layer_decay: Annotated[float, more_than(0, at_most=1)] = 1.0
    """Each group of layers has this share of the learning rate of the next; the head has all of
    it. 1: off. For pretrained weights, whose first layers are to move least."""
    weight_decay: Annotated[float, at_least(0)] = 1e-4
    """L2 for sgd and adam, decoupled for the others; never on biases and norm parameters."""
    momentum: Annotated[float, at_least(0, below=1)] = 0.9
    """Of sgd and of muon's hidden layers; the others do not use it."""
    nesterov: bool = False
    """Nesterov's momentum, of sgd; muon's always is."""
    beta_1: Annotated[float, at_least(0, below=1)] = 0.9
    """Decay rate of the mean gradient; sgd has none."""
    beta_2: Annotated[float, at_least(0, below=1)] | None = None
    """Decay rate of the mean squared gradient, by default 0.999; of lion that which its mean
    gradient is kept with, by default 0.99."""
    epsilon: Annotated[float, more_than(0)] = 1e-8
    """Added to the root of the mean squared gradient; sgd and lion have none."""
    clip_norm: Annotated[float, at_least(0)] = 0.0
    """Larger gradients are scaled down to this norm, taken over all weights; 0: off."""
    ema_decay: Annotated[float, at_least(0, below=1)] = 0.0
    """Exponential moving average of the weights and running statistics: the share of it that a
    step keeps, less in the first steps; 0: off."""
    loss: Literal["cross_entropy", "focal", "bce"] = "cross_entropy"
    """focal: cross-entropy that passes over what is easy; bce: binary cross-entropy of each
    class, summed. See docs/training.md."""
    focal_gamma: Annotated[float, at_least(0)] = 2.0
    """Of focal: how much it passes over what is easy; at 0 it is cross_entropy."""
    label_smoothing: Annotated[float, at_least(0, below=1)] = 0.0
    """Share of the target spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, at_least(0)]] = "none"
    """"balanced": images / (classes × images of the class), or one per class."""
    best: Literal["accuracy", "loss", "last", "ema"] = "accuracy"
    """The weights of this epoch are exported; accuracy: the greatest in validation, of equals
    the one of the least loss; loss: the least validation loss, weighted as the training is;
    last: the last; ema: the least validation loss of the moving average, which is exported."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """shuffle: an epoch has each image once; balanced: as many, drawn so that each class has as
    many as any other."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    early_stopping_patience: Annotated[int, at_least(0)] = 0
    """Epochs without a better one, by `best`, before training stops; 0: off.
    Where the last is exported, a better one has a lesser validation loss."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
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
        framework = get_framework(self.framework)  # raises ConfigError where there is none
        for key in sorted(OPTIONAL - framework.honours):
            require(
                not _is_changed(self, key),
                f"{key}: expected it left out, since the framework {self.framework} does not "
                "have it. Leave it out, or train with another framework.",
            )
        require(
            self.sampling != "balanced" or self.class_weights != "balanced",
            'class_weights: expected "none" or a table with sampling = "balanced", which evens the '
            'classes out already, got "balanced".',
        )
        require(
            not self.nesterov or (self.optimizer == "sgd" and self.momentum > 0),
            f"nesterov: expected optimizer sgd with a momentum above 0, got {self.optimizer} with "
            f"{self.momentum}. Set these, or leave nesterov out.",
        )
        require(
            self.best != "ema" or self.ema_decay > 0,
            "best: ema needs the moving average of the weights. Set train.ema_decay, such as "
            "0.999, or another best.",
        )
        self._check_augmentation(framework.applies)
        drawn_by_place = self.augment.horizontal_flip == "alternating"
        for key, is_asked in (
            ('sampling = "balanced"', self.sampling == "balanced"),
            ("distillation", self.distillation.model is not None),
            ('augment.horizontal_flip = "alternating"', drawn_by_place),
        ):
            require(
                self.input == "arrays" or not is_asked,
                f'input: expected "arrays" with train.{key}, which needs each image\'s place in '
                f"the split, got {self.input!r}.",
            )

    def _check_augmentation(self, applies: frozenset[str]) -> None:
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
        if missing := sorted(needed - applies):
            raise ConfigError(
                f"train.augment: the framework {self.framework} cannot apply "
                f"{', '.join(missing)} (it can: {', '.join(sorted(applies))}). "
                "Switch off what needs it, see docs/augmentation.md, or use another framework."
            )


def _is_changed(config: Any, key: str) -> bool:
    """Says whether a key has another value than its default."""
    (found,) = (f for f in fields(config) if f.name == key)
    default = found.default if found.default_factory is MISSING else found.default_factory()
    return bool(getattr(config, key) != default)
