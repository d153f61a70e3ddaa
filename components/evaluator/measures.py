"""What TensorFlow Model Analysis computes, in its own terms: metrics that take many images at once.

An extract of ours is not an image but all images of a batch that are in the same slices: TFMA's
own metrics spend most of their time on single images.  It looks for a class among its own first,
so none of these has the name of one.  Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from modelstore.tasks import TASKS

_BINS = 10
_EDGES = np.arange(_BINS + 1) / _BINS


class _Sums(beam.CombineFn):  # type: ignore[misc]
    """Adds up what is known of each extract."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def create_accumulator(self) -> Any:
        return 0.0

    def of(self, scores_NC: Any, labels_N: Any) -> Any:
        """Returns what an extract adds."""
        raise NotImplementedError

    def result(self, total: Any) -> Any:
        return total

    def add_input(self, accumulator: Any, element: Any) -> Any:
        predictions = element.predictions
        if isinstance(predictions, Mapping):  # by model, where there is more than one
            predictions = predictions[self._key.model_name]
        return accumulator + self.of(predictions, element.labels)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return sum(accumulators, self.create_accumulator())

    def extract_output(self, accumulator: Any) -> dict[Any, Any]:
        return {self._key: self.result(accumulator)}


class _Count(_Sums):
    def of(self, scores_NC: Any, labels_N: Any) -> Any:
        return float(len(labels_N))


class _Means(_Sums):
    def __init__(self, key: Any, task: str, settings: Mapping[str, Any]) -> None:
        super().__init__(key)
        self._task, self._settings = task, settings

    def of(self, scores_NC: Any, labels_N: Any) -> Any:
        (of_each,) = (m.of_each for m in TASKS[self._task].METRICS if m.name == self._key.name)
        return np.array([of_each(scores_NC, labels_N, **self._settings).sum(), len(labels_N)])

    def result(self, total: Any) -> Any:
        return float(total[0] / total[1])


class _Matrix(_Sums):
    def create_accumulator(self) -> Any:
        return Counter()

    def of(self, scores_NC: Any, labels_N: Any) -> Any:
        return Counter(zip(labels_N.tolist(), scores_NC.argmax(axis=1).tolist(), strict=True))

    def result(self, total: Any) -> Any:
        matrices = metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds()
        matrix = matrices.matrices.add(threshold=0.0)
        for (actual, predicted), count in sorted(total.items()):
            matrix.entries.add(
                actual_class_id=actual, predicted_class_id=predicted, num_weighted_examples=count
            )
        return matrices


class _Histogram(_Sums):
    """By bin of score: sums of labels (1 of the right class), of scores, and of both's number."""

    def of(self, scores_NC: Any, labels_N: Any) -> Any:
        right_NC = np.zeros(scores_NC.shape)
        right_NC[np.arange(len(labels_N)), labels_N] = 1
        scores = scores_NC.astype(np.float64).ravel()
        bins = np.searchsorted(_EDGES, scores, side="right")
        return np.stack([np.bincount(bins, w, _BINS + 2) for w in (right_NC.ravel(), scores, None)])

    def result(self, total: Any) -> Any:
        histogram = metrics_for_slice_pb2.CalibrationHistogramBuckets()
        edges = [-np.inf, *_EDGES, np.inf]
        for low, high, labels, scores, count in zip(edges[:-1], edges[1:], *total, strict=True):
            histogram.buckets.add(
                lower_threshold_inclusive=low,
                upper_threshold_exclusive=high,
                total_weighted_label={"value": labels},
                total_weighted_refined_prediction={"value": scores},
                num_weighted_examples={"value": count},
            )
        return histogram


def _made_by(combiner: Callable[..., _Sums], key_type: Any = metric_types.MetricKey) -> Any:
    """Returns what TFMA makes a metric's computations with: one for each model."""

    def make(name: str, model_name: str = "", **arguments: Any) -> list[Any]:
        key = key_type(name=name, model_name=model_name)
        computed = combiner(key, **arguments)
        return [metric_types.MetricComputation([key], preprocessors=None, combiner=computed)]

    return metric_util.merge_per_key_computations(make)


class ImageCount(metric_types.Metric):  # type: ignore[misc]
    """The number of images."""

    def __init__(self, name: str) -> None:
        super().__init__(_made_by(_Count), name=name)


class MeanOfImages(metric_types.Metric):  # type: ignore[misc]
    """A `modelstore.tasks.contract.Metric`."""

    def __init__(self, name: str, task: str, settings: Mapping[str, Any]) -> None:
        super().__init__(_made_by(_Means), name=name, task=task, settings=settings)


class ClassConfusion(metric_types.Metric):  # type: ignore[misc]
    """Images by true and predicted class."""

    def __init__(self, name: str) -> None:
        super().__init__(_made_by(_Matrix, metric_types.PlotKey), name=name)


class CalibrationBins(metric_types.Metric):  # type: ignore[misc]
    """The scores of all classes in ten bins, and how often the class was right."""

    def __init__(self, name: str) -> None:
        super().__init__(_made_by(_Histogram, metric_types.PlotKey), name=name)
