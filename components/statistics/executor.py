"""The statistics of raw examples, by TFDV's own generators."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import tensorflow as tf

# TFDV cannot be imported before TFX, which mends it.
from tfx.components.statistics_gen import executor as base
from tfx.types import artifact_utils, standard_component_specs
from tfx_bsl.coders import example_coder

import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_data_validation.statistics import stats_impl  # isort: skip
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2  # isort: skip

from common.files import walk_files
from common.record.artifacts import Examples
from common.record.record import name_of
from components.executor_io import Artifacts, Properties, one, split
from modelstore import raw_example as features

TEXTS = (features.LABEL, features.FORMAT)
NUMBERS = (features.WIDTH, features.HEIGHT, features.CHANNELS, features.BYTES)

_MOST_CLASSES = 16_384
"""Values of a text feature that TFDV's sketch counts exactly; the schema's
class list comes from these counts."""
MOST_BYTES = 2 << 30
"""Of examples that are described without Beam."""
_BATCH = 32
"""Examples that are held at a time, with their images."""


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
    """Adds the extra columns, which only the examples know; does without Beam for few bytes."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        examples = one(input_dict, standard_component_specs.EXAMPLES_KEY)
        columns = examples.get_json_value_custom_property(name_of(Examples.extra_columns))
        options = stats_options(columns or [])
        if sum(f.stat().st_size for f in walk_files(Path(examples.uri))) > MOST_BYTES:
            json_ = {standard_component_specs.STATS_OPTIONS_JSON_KEY: options.to_json()}
            super().Do(input_dict, output_dict, exec_properties | json_)
            return
        statistics = one(output_dict, standard_component_specs.STATISTICS_KEY)
        statistics.split_names, statistics.span = examples.split_names, examples.span
        for name in artifact_utils.decode_split_names(examples.split_names):
            files = walk_files(split(input_dict, standard_component_specs.EXAMPLES_KEY, name))
            folder = split(output_dict, standard_component_specs.STATISTICS_KEY, name)
            folder.mkdir(parents=True, exist_ok=True)
            described = describe(files, options)
            (folder / base.DEFAULT_FILE_NAME).write_bytes(described.SerializeToString())


def describe(
    files: Iterable[Path], options: tfdv.StatsOptions
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes the statistics of gzipped TFRecords by TFDV's own generators, in this process."""
    decoder = example_coder.ExamplesToRecordBatchDecoder(options.schema.SerializeToString())
    records = tf.data.TFRecordDataset([str(f) for f in files], "GZIP").batch(_BATCH)
    batches = [decoder.DecodeBatch(list(batch)) for batch in records.as_numpy_iterator()]
    empty = decoder.DecodeBatch([])
    whole = pa.Table.from_batches(batches, empty.schema).combine_chunks().to_batches()
    return stats_impl.generate_statistics_in_memory(whole[0] if whole else empty, options)
