"""Runs TensorFlow Model Analysis over predictions, by Beam."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.writers import (
    eval_config_writer,
    metrics_plots_and_validations_writer,
)

from components.evaluator.eval_config import CANDIDATE
from components.evaluator.verdict import BASELINE, LABEL
from modelstore.predictions import PredictionsReader

_OUTPUTS = (constants.METRICS_KEY, constants.PLOTS_KEY, constants.VALIDATIONS_KEY)
"""All that TFMA writes but attributions, which are of models that explain themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Where the predictions are that are judged, which Beam's workers read."""

    candidate: Path
    baseline: Path | None


def analyse(
    pipeline: beam.Pipeline, compared: Compared, config: tfma.EvalConfig, output: Path
) -> None:
    """Adds to a Beam pipeline what writes TFMA's files to `output`."""
    groups = PredictionsReader(compared.candidate).groups
    evaluation = (
        pipeline
        | "Groups" >> beam.Create(range(groups), reshuffle=groups > 1)
        | "Read" >> beam.FlatMap(_extracts, compared, _sliced_by(config))
        | "Evaluate"
        >> model_eval_lib.ExtractAndEvaluate(
            extractors=[
                slice_key_extractor.SliceKeyExtractor(eval_config=config, materialize=False)
            ],
            evaluators=[
                metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(
                    eval_config=config
                )
            ],
        )
    )
    writers = [
        eval_config_writer.EvalConfigWriter(
            str(output),
            eval_config=config,
            data_location=None,
            data_file_format=None,
            model_locations={spec.name: "<unknown>" for spec in config.model_specs},
        ),
        metrics_plots_and_validations_writer.MetricsPlotsAndValidationsWriter(
            output_paths={key: str(output / key) for key in _OUTPUTS},
            eval_config=config,
            output_file_format="tfrecord",
        ),
    ]
    _ = evaluation | "Write" >> model_eval_lib.WriteResults(writers=writers)


def _sliced_by(config: tfma.EvalConfig) -> list[str]:
    return [key for spec in config.slicing_specs for key in spec.feature_keys]


def _extracts(group: int, compared: Compared, features: list[str]) -> Iterator[dict[str, Any]]:
    """Yields TFMA's extracts of a group of rows: one for the rows that are in the same slices."""
    reader = PredictionsReader(compared.candidate)
    class_names = reader.origin.class_names
    rows = reader.rows(group)
    scores = {CANDIDATE: rows.scores_NC}
    if compared.baseline is not None:
        scores[BASELINE] = PredictionsReader(compared.baseline).rows(group, class_names).scores_NC
    ids = {name: place for place, name in enumerate(class_names)}
    labels_N = np.array([ids[label] for label in rows.labels])
    alike: dict[tuple[bytes | None, ...], list[int]] = defaultdict(list)
    columns = {LABEL: [label.encode() for label in rows.labels], **rows.columns}
    for place, key in enumerate(zip(*(columns[f] for f in features), strict=True)):
        alike[key].append(place)
    for key, places in alike.items():
        predictions = {model: scores_NC[places] for model, scores_NC in scores.items()}
        known = ((f, value) for f, value in zip(features, key, strict=True) if value is not None)
        yield {
            constants.LABELS_KEY: labels_N[places],
            constants.PREDICTIONS_KEY: predictions if len(scores) > 1 else predictions[CANDIDATE],
            constants.FEATURES_KEY: {f: np.array([value], object) for f, value in known},
            constants.EXAMPLE_WEIGHTS_KEY: None,
        }
