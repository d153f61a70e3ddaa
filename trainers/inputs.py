"""Opens what `train.input` names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from common.extras import require_installed
from common.process.cpus import available_cpus
from trainers.config import TrainConfig
from trainers.data import Source, Split, Validation, check_labels

STREAM = "stream"


def open_splits(
    config: TrainConfig,
    train: Path,
    val: Path,
    *,
    class_names: tuple[str, ...],
    transform_graph: Path,
    image_size: tuple[int, int] | None,
    accelerator: str,
) -> tuple[Source, Validation]:
    """Opens the images to train on and those to score on.

    Args:
      train: the folder of the split's arrays (`trainers.arrays`), or of its examples
        where they are streamed, as `val`.
      image_size: height and width that the transform graph makes streamed images.
      accelerator: see `trainers.contract.Backend.configure`.
    """
    if config.input != STREAM:
        split, validation = Split.open(train), Split.open(val)
        check_labels("train", split.labels_N, len(class_names))
        check_labels("val", validation.labels_N, len(class_names))
        if ":" not in config.input:
            return split, validation
        from trainers.own_input import OwnInput

        # What is served is what validation sees: the images as they are.
        return OwnInput(config, split, class_names), validation
    require_installed('train.input = "stream"', "tensorflow", ["tensorflow"])
    from trainers.stream import Stream

    assert image_size is not None
    # On a CPU the model has all threads: one that decodes is little beside them.
    threads = 1 if accelerator == "cpu" else config.threads or available_cpus()
    opened = partial(
        Stream,
        transform_graph=transform_graph,
        image_size=image_size,
        class_names=class_names,
        threads=threads,
    )
    return opened(train), opened(val)
