"""Real examples to ask a server about, and the model's own answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from common.errors import DataError
from common.files import walk_files
from components.infra_validation.report import NotBlessedError
from modelstore import raw_example
from modelstore.savedmodel import SCORES, SIGNATURE_BYTES, SIGNATURE_EXAMPLES

Floats = npt.NDArray[np.float32]
_LOOKED_AT = 8
"""Examples that are read for each that is taken."""
_REASON = 500
"""Characters of an error that a reason has."""
_FIELDS = ("serialised", "encoded")
_REQUEST_BYTES = 8 * 2**20
_REQUEST_PIXELS = 100_000_000
"""Of the images in one request: well below what the server takes."""


@dataclass(frozen=True, slots=True)
class Example:
    """One raw example."""

    serialised: bytes
    encoded: bytes
    """The image file in it."""
    label: str
    pixels: int


def sample(split: Path, count: int) -> list[Example]:
    """Returns the first examples of a split, as many classes among them as can be.

    Args:
      split: a directory of gzipped TFRecords of raw examples.

    Raises:
      DataError: there is none.
    """
    files = [str(f) for f in walk_files(split)] if split.is_dir() else []
    by_label: dict[str, list[Example]] = defaultdict(list)
    if files:
        records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
        for serialised in islice(records, count * _LOOKED_AT):
            example = _example(serialised)
            by_label[example.label].append(example)
    # The first of each class, then the second of each, …
    in_turn = (e for turn in zip_longest(*by_label.values()) for e in turn if e is not None)
    examples = list(islice(in_turn, count))
    if not examples:
        raise DataError(
            f"The evaluation split has no example to ask the server about: {split}. Nothing is "
            "pushed untried; infra_validation.enabled=false pushes without."
        )
    return examples


def requests(examples: Sequence[Example]) -> list[list[Example]]:
    """Returns the examples in order, in requests that a server takes."""
    parts: list[list[Example]] = []
    size = pixels = 0
    for example in examples:
        size += len(example.serialised)
        pixels += example.pixels
        if not parts or size > _REQUEST_BYTES or pixels > _REQUEST_PIXELS:
            parts.append([])
            size, pixels = len(example.serialised), example.pixels
        parts[-1].append(example)
    return parts


def own_answers(model: Path, examples: Sequence[Example]) -> Floats:
    """Returns the scores [N, C] that the SavedModel itself gives, in this process.

    Raises:
      NotBlessedError: it cannot be loaded, gives none, or its signatures disagree.
    """
    of_examples, of_files = [], []
    try:
        signatures = tf.saved_model.load(str(model)).signatures
        for request in requests(examples):
            serialised, encoded = ([getattr(e, k) for e in request] for k in _FIELDS)
            of_examples.append(_scores(signatures[SIGNATURE_EXAMPLES], "examples", serialised))
            of_files.append(_scores(signatures[SIGNATURE_BYTES], "images", encoded))
    except Exception as e:  # a broken SavedModel fails in any way
        raise NotBlessedError(
            f"the SavedModel cannot be run: {type(e).__name__}: {str(e)[:_REASON]}"
        ) from e
    expected_NC = np.concatenate(of_examples)
    compare("the SavedModel's signature for image files", np.concatenate(of_files), expected_NC)
    if len(expected_NC) != len(examples):
        raise NotBlessedError(f"the SavedModel answered {len(expected_NC)} of {len(examples)}")
    return expected_NC


def _scores(signature: Any, key: str, values: Sequence[bytes]) -> Floats:
    scores: Floats = signature(**{key: tf.constant(values, tf.string)})[SCORES].numpy()
    return scores


def compare(what: str, scores_NC: Floats, expected_NC: Floats) -> float:
    """Returns the largest difference of any score.

    Raises:
      NotBlessedError: there is a score too few or too many, one is no number, or it
        differs by more than `PARITY_TOLERANCE`.
    """
    from trainers.export import PARITY_TOLERANCE

    if scores_NC.shape != expected_NC.shape:
        raise NotBlessedError(
            f"{what} gave scores of the shape {list(scores_NC.shape)}; expected "
            f"{list(expected_NC.shape)}"
        )
    if not (np.isfinite(scores_NC).all() and np.isfinite(expected_NC).all()):
        raise NotBlessedError(f"{what} gave scores that are no finite numbers")
    differences_N = np.abs(scores_NC - expected_NC).max(axis=1)
    worst = float(differences_N.max())
    # Written so that a NaN is a failure too.
    if not worst <= PARITY_TOLERANCE:
        wrong = int((differences_N > PARITY_TOLERANCE).sum())
        raise NotBlessedError(
            f"{what} differs from the model itself by {worst:.2g} in a score, on {wrong} of "
            f"{len(expected_NC)} images; at most {PARITY_TOLERANCE:g} is allowed"
        )
    return worst


def _example(serialised: bytes) -> Example:
    values = tf.train.Example.FromString(serialised).features.feature
    width, height = (values[k].int64_list.value for k in (raw_example.WIDTH, raw_example.HEIGHT))
    return Example(
        serialised=serialised,
        encoded=values[raw_example.ENCODED].bytes_list.value[0],
        label=b"".join(values[raw_example.LABEL].bytes_list.value).decode(),
        pixels=width[0] * height[0] if width and height else 0,
    )
