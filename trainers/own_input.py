"""A training's images from the user's own function, "package.module:function".

It returns what its framework reads data with, a `tf.data.Dataset`, a `torch.utils.data.Dataset`
or a `DataLoader`, and need not be of the framework that trains: they all can be walked through
or indexed, and what they give becomes NumPy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.contract import Batch, Floats, Images, Labels
from trainers.data import Split, ahead, grouped, make_batch, targets
from trainers.own_models import described, resolve

_SHOWN = 80
"""Characters of a value in an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the function is called with, once for each epoch."""

    images_NHW3: Images
    """The train split, uint8, mapped into memory: of the run's image size."""
    labels_N: Labels
    """int64, places in `class_names`."""
    class_names: tuple[str, ...]
    batch_size: int
    seed: int
    epoch: int
    """From 1.  What draws from [seed, epoch] alone makes equal trainings for equal seeds."""


class OwnInput:
    """A `trainers.data.Source`: the user's function over the arrays of the train split.

    It is called, and its first batch checked, as this is made.

    Raises:
      ConfigError: it cannot be called, or gives what a training cannot take.
    """

    def __init__(self, config: TrainConfig, split: Split, class_names: tuple[str, ...]) -> None:
        self._split, self._class_names = split, class_names
        self._name = config.input
        self._function = resolve(config.input, key="train.input")
        with self._told():
            made = self._made(config, epoch=1)
            elements = self._elements(made, config, epoch=1, begin=0)
            first = next(elements, None)
            if first is None:
                raise self._refused("at least one image", "none")
            self._single = np.ndim(first[0]) == len("HW3")
            images_NHW3, _ = next(self._arrays(chain([first], elements), config))
            length = _length(made)
        if length is None:  # as many images as the split has, then
            self._steps = math.ceil(len(split) / len(images_NHW3))
        else:
            self._steps = math.ceil(length / config.batch_size) if self._single else length

    @property
    def labels_N(self) -> Labels:
        return self._split.labels_N

    @property
    def image_size(self) -> tuple[int, int]:
        return self._split.image_size

    def steps(self, config: TrainConfig) -> int:
        return self._steps

    def batches(
        self, config: TrainConfig, weights_C: Floats, *, epoch: int, after: int = 0
    ) -> Iterator[Batch]:
        return ahead(self._batches(config, weights_C, epoch, after))

    def _batches(
        self, config: TrainConfig, weights_C: Floats, epoch: int, after: int
    ) -> Iterator[Batch]:
        number = after
        with self._told():
            begin = after * (config.batch_size if self._single else 1)
            elements = self._elements(self._made(config, epoch), config, epoch, begin)
            arrays = self._arrays(elements, config)
            for images_NHW3, shares_NC in islice(arrays, self._steps - after):
                labels_N = shares_NC.argmax(axis=1)
                yield make_batch(
                    images_NHW3,
                    labels_N,
                    config,
                    weights_C,
                    place=(epoch, number, self._steps),
                    augment=config.augment_in(epoch) if config.augment_input else None,
                    targets_NC=shares_NC,
                )
                number += 1
            if number < self._steps:
                raise self._refused(
                    f"{self._steps} batches in each epoch (what comes after them is left out, so "
                    "it may repeat)",
                    f"{number} in epoch {epoch}",
                )

    def _made(self, config: TrainConfig, epoch: int) -> Any:
        given = Given(
            images_NHW3=self._split.images_NHW3,
            labels_N=self._split.labels_N,
            class_names=self._class_names,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
        )
        made = self._function(given, **config.input_args)
        if not (hasattr(made, "__iter__") or _is_indexed(made)):
            raise self._refused(
                "a tf.data.Dataset, a torch.utils.data.Dataset or a DataLoader", repr(made)
            )
        return made

    def _elements(
        self, made: Any, config: TrainConfig, epoch: int, begin: int
    ) -> Iterator[tuple[Any, Any]]:
        """Yields what was made, from some element on: as it comes, or in an order that is drawn."""
        if _is_indexed(made):
            order = np.random.default_rng([config.seed, epoch]).permutation(len(made))
            return (self._pair(made[number]) for number in order[begin:].tolist())
        return map(self._pair, islice(made, begin, None))

    def _pair(self, element: Any) -> tuple[Any, Any]:
        if not isinstance(element, tuple | list) or len(element) != len(("images", "labels")):
            raise self._refused("pairs of images and labels", _shown(element))
        return element[0], element[1]

    def _arrays(
        self, elements: Iterator[tuple[Any, Any]], config: TrainConfig
    ) -> Iterator[tuple[Images, Floats]]:
        """Yields checked images and the shares of their classes, batch by batch."""
        if not self._single:
            yield from (self._checked(images, labels) for images, labels in elements)
            return
        for group in grouped(elements, config.batch_size):
            images, labels = zip(*group, strict=True)
            yield self._checked(_stacked(images), _stacked(labels))

    def _checked(self, images: Any, labels: Any) -> tuple[Images, Floats]:
        images_NHW3 = self._pixels(np.asarray(images))
        return images_NHW3, self._shares(np.asarray(labels), len(images_NHW3))

    def _pixels(self, images: NDArray[Any]) -> Images:
        shape = (*self.image_size, 3)
        if images.ndim == len("NHW3") and images.shape[1:] == (3, *self.image_size) != shape:
            images = images.transpose(0, 2, 3, 1)  # as PyTorch has them
        if images.ndim != len("NHW3") or images.shape[1:] != shape or not len(images):
            raise self._refused(
                f"images of {shape[0]}×{shape[1]}×3, the size that is served",
                f"an array of shape {images.shape}",
            )
        if images.dtype != np.uint8:
            least, most = float(images.min()), float(images.max())
            # As 0 to 1 they would be black, once they are bytes.
            if not (0 <= least <= most <= 255) or 0 < most <= 1:
                raise self._refused(
                    "images of 0 to 255, uint8 or rounded to it, since models normalise by "
                    "themselves",
                    f"{images.dtype} from {least:g} to {most:g}",
                )
            images = np.rint(images).astype(np.uint8)
        return np.require(images, requirements=["C", "W"])

    def _shares(self, labels: NDArray[Any], count: int) -> Floats:
        """Labels, or shares of classes, as float32 N×C."""
        classes = len(self._class_names)
        if labels.shape == (count,) and labels.dtype.kind in "iu":
            if not ((labels >= 0) & (labels < classes)).all():
                wrong = labels[(labels < 0) | (labels >= classes)][0]
                raise self._refused(
                    f"labels of 0 to {classes - 1}, places among the class names", f"{wrong}"
                )
            return targets(labels.astype(np.int64), classes, 0.0)
        shares_NC = labels.astype(np.float32) if labels.dtype.kind in "iuf" else labels
        if labels.shape != (count, classes) or labels.dtype.kind not in "iuf":
            raise self._refused(
                f"{count} whole numbers as labels, or shares of {classes} classes for each image",
                f"{labels.dtype} of shape {labels.shape}",
            )
        if not ((shares_NC >= 0).all() and np.allclose(shares_NC.sum(axis=1), 1, atol=1e-3)):
            raise self._refused("shares of classes that sum to one", _shown(shares_NC[0]))
        return shares_NC

    def _refused(self, expected: str, got: str) -> ConfigError:
        return ConfigError(f"train.input: expected {self._name} to give {expected}; got {got}.")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ConfigError:
            raise
        except Exception as e:
            raise ConfigError(f"train.input: {self._name} raised {described(e)}") from e


def _is_indexed(made: Any) -> bool:
    """Says whether data are found by number alone, as of a torch Dataset that is no iterable."""
    return not hasattr(made, "__iter__") and hasattr(made, "__getitem__")


def _length(made: Any) -> int | None:
    try:
        return len(made)
    except (TypeError, NotImplementedError):  # of what has none, or does not know it
        return None


def _stacked(values: Sequence[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(value) for value in values])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < _SHOWN else f"{type(value).__name__} {text[:_SHOWN]}…"
