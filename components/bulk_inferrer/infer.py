"""One pass of a model over the image files of a split.

Files are decoded by the model's own graph, in threads of `tf.data`, while ONNX Runtime
computes on the pixels before: the engine of `visionline serve`.  That it answers as the
SavedModel does is tried on some of the images.  Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import DataError
from common.files import walk_files
from common.process.cpus import available_cpus
from modelstore.artifact import MODEL_ONNX, ModelCard, model_digest
from modelstore.engines import Engine, Floats, Images, Onnx, SavedModel
from modelstore.predictions import Origin, PredictionsWriter
from modelstore.raw_example import ENCODED, LABEL, PATH, SHA256

_MOST, _BYTES = 256, 8 << 20
"""Images that are decoded, and predicted, at a time: fewer where they are large, by the first."""
_LOOKED_AT = 32
_COMPARED = 16
_TEXTS = (SHA256, LABEL)

Features = dict[str, Sequence[Any]]


def infer(model: Path, examples: Path, split: str, columns: Sequence[str], output: Path) -> Origin:
    """Scores the images of a split and writes them to `output`.

    Args:
      model: a directory with `model.json`.
      examples: gzipped TFRecords of raw examples.
      columns: the extra columns of the data.

    Raises:
      DataError: there is no image, the model cannot be run, or it gives other scores than
        its SavedModel.
    """
    card = ModelCard.read(model)
    saved_model = SavedModel(model)
    engine: Engine = saved_model
    if (model / MODEL_ONNX).exists():
        engine = Onnx(model, available_cpus())
    sample = _Sample()
    with PredictionsWriter(output, split, columns, len(card.class_names)) as writer:
        for features, images in _decoded(examples, columns, saved_model.decoder, card.image_size):
            _check_known(features[LABEL], card.class_names)
            scores_NC = _scores(engine, images, model, len(card.class_names))
            sample.offer(features[ENCODED], scores_NC)
            writer.write(features, scores_NC)
        if not writer.images:
            raise DataError(
                f"The split {split!r} has no image to judge a model by: {examples}. Choose "
                "data.splits, or add images."
            )
        origin = Origin(
            model_digest=model_digest(model),
            class_names=card.class_names,
            engine=engine.name,
            parity=sample.compare(saved_model, engine, model, card.parity_tolerance),
            compared=len(sample.files),
            split=split,
            images=writer.images,
            images_digest=writer.images_digest,
            columns=tuple(columns),
        )
        writer.finish(origin)
    return origin


def count_examples(examples: Path) -> int:
    """Returns the number of examples in a folder of gzipped TFRecords."""
    records = tf.data.TFRecordDataset([str(f) for f in walk_files(examples)], "GZIP")
    return int(records.reduce(np.int64(0), lambda count, _: count + 1).numpy())


class _Sample:
    """A uniform sample of a stream of images, with their scores (reservoir sampling)."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self._scores: list[Floats] = []
        self._seen = 0
        self._random = random.Random(0)

    def offer(self, files: Sequence[bytes], scores_NC: Floats) -> None:
        for file, scores_C in zip(files, scores_NC, strict=True):
            self._seen += 1
            if len(self.files) < _COMPARED:
                self.files.append(file)
                self._scores.append(scores_C)
            elif (place := self._random.randrange(self._seen)) < _COMPARED:
                self.files[place], self._scores[place] = file, scores_C

    def compare(
        self, saved_model: SavedModel, engine: Engine, model: Path, tolerance: float
    ) -> float:
        """Returns the largest difference of any score from those that the SavedModel gives."""
        expected_NC = saved_model.scores_of_files(self.files)
        worst = float(np.abs(np.stack(self._scores) - expected_NC).max())
        # Written so that a NaN is a failure too.
        if not worst <= tolerance:
            raise DataError(
                f"{model}: {engine.name} differs from the SavedModel by {worst:.2g} in a score, on "
                f"{len(self.files)} images of the split; at most {tolerance:g} is allowed. What is "
                "judged must be what is served: export the model again."
            )
        return worst


def _check_known(labels: Iterable[str], class_names: Sequence[str]) -> None:
    if unknown := sorted(set(labels) - set(class_names)):
        raise DataError(
            "The evaluation split has images of classes that the model was not trained on: "
            f"{', '.join(map(repr, unknown[:5]))}. Expected each class in the train split, too."
        )


def _scores(engine: Engine, images: Images, model: Path, classes: int) -> Floats:
    try:
        scores_NC = engine.scores(images)
    except Exception as e:  # a broken model fails in any way
        raise DataError(f"{model}: {engine.name} fails: {type(e).__name__}: {e}") from None
    if scores_NC.shape != (len(images), classes) or not np.isfinite(scores_NC).all():
        raise DataError(
            f"{model}: {engine.name} gave scores of the shape {list(scores_NC.shape)}; expected "
            f"{[len(images), classes]}, all of them finite. Train the model again."
        )
    return scores_NC


def _decoded(
    examples: Path,
    columns: Sequence[str],
    decode: Callable[..., dict[str, tf.Tensor]],
    size: tuple[int, int],
) -> Iterator[tuple[Features, Images]]:
    """Yields the features of some images and their pixels, uint8 [N, H, W, 3], in order."""
    one = tf.io.FixedLenFeature([], tf.string)
    spec = dict.fromkeys((ENCODED, PATH, *_TEXTS), one)
    spec |= {name: tf.io.RaggedFeature(tf.string) for name in columns}

    def parsed(serialised_N: tf.Tensor) -> tuple[Any, tf.Tensor]:
        features = tf.io.parse_example(serialised_N, spec)
        return features, decode(images=features[ENCODED])["images"]

    records = tf.data.TFRecordDataset([str(f) for f in walk_files(examples)], "GZIP")
    looked_at = records.take(_LOOKED_AT).as_numpy_iterator()
    largest = max([size[0] * size[1] * 3, *map(len, looked_at)])
    threads = available_cpus()
    batches = records.batch(max(1, min(_MOST, _BYTES // largest)))
    try:
        for features, images in batches.map(parsed, num_parallel_calls=threads).prefetch(2):
            values: Features = {n: features[n].numpy().tolist() for n in (ENCODED, PATH)}
            values |= {n: [text.decode() for text in features[n].numpy()] for n in _TEXTS}
            for name in columns:
                values[name] = [row[0] if row else None for row in features[name].to_list()]
            yield values, images.numpy()
    except tf.errors.InvalidArgumentError as e:
        raise DataError(
            f"{examples} has an example that the model's own graph cannot read: {e.message}. "
            "Remove that dataset and run the pipeline again."
        ) from None
