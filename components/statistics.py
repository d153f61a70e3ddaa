"""StatisticsGen over the features that mean something, the image bytes left out."""

from __future__ import annotations

from collections.abc import Iterable

# TFDV cannot be imported before TFX, which mends it.
from tfx.components.statistics_gen import component
from tfx.components.statistics_gen import executor as base
from tfx.dsl.components.base import executor_spec
from tfx.types import standard_component_specs

import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2  # isort: skip

from common.record.artifacts import Examples
from common.record.record import name_of
from components.executor_io import Artifacts, Properties, one
from modelstore import raw_example as features

TEXTS = (features.LABEL, features.FORMAT)
NUMBERS = (features.WIDTH, features.HEIGHT, features.CHANNELS, features.BYTES)

_MOST_CLASSES = 16_384
"""Values of a text feature that TFDV's sketch counts exactly; the schema's
class list comes from these counts."""


def stats_options(extra_columns: Iterable[str] = ()) -> tfdv.StatsOptions:
    """Makes the options of StatisticsGen; `extra_columns` are further ones of the manifest."""
    read = schema_pb2.Schema()
    for name in (*TEXTS, *extra_columns):
        read.feature.add(name=name, type=schema_pb2.BYTES)
    for name in NUMBERS:
        read.feature.add(name=name, type=schema_pb2.INT)
    return tfdv.StatsOptions(
        # Reads these features alone; image bytes are most of the data.  TFX
        # cannot do so with an allowlist, which it keeps as JSON.
        schema=read,
        experimental_filter_read_paths=True,
        num_rank_histogram_buckets=_MOST_CLASSES,
        use_sketch_based_topk_uniques=True,
    )


def value_counts(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, name: str
) -> dict[str, int]:
    """Counts the examples per value of a text feature."""
    for feature in statistics.datasets[0].features:
        if list(feature.path.step) == [name]:
            buckets = feature.string_stats.rank_histogram.buckets
            return {b.label: int(b.sample_count) for b in buckets}
    return {}


class Executor(base.Executor):
    """Adds the extra columns, which only the examples know."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        examples = one(input_dict, standard_component_specs.EXAMPLES_KEY)
        columns = examples.get_json_value_custom_property(name_of(Examples.extra_columns))
        options = stats_options(columns or []).to_json()
        properties = exec_properties | {standard_component_specs.STATS_OPTIONS_JSON_KEY: options}
        super().Do(input_dict, output_dict, properties)


class StatisticsGen(component.StatisticsGen):
    """TFX's StatisticsGen for the raw examples of ImageExampleGen."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
