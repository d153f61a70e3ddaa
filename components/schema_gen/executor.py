"""A schema, inferred from statistics."""

from __future__ import annotations

from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.utils import io_utils

import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2  # isort: skip

from components import schema as schemas
from components.executor_io import Artifacts, Properties, folder, one
from components.statistics.executor import value_counts
from modelstore import raw_example as features


def infer(
    train: statistics_pb2.DatasetFeatureStatisticsList, class_balance_threshold: float
) -> schema_pb2.Schema:
    """Infers the schema of raw examples from the statistics of the train split."""
    schema = tfdv.infer_schema(train, infer_feature_shape=True, max_string_domain_size=0)
    schemas.set_class_counts(schema, value_counts(train, features.LABEL))
    label = schemas.feature(schema, features.LABEL)
    label.drift_comparator.infinity_norm.threshold = class_balance_threshold
    formats = schemas.feature(schema, features.FORMAT)
    formats.string_domain.CopyFrom(schema_pb2.StringDomain(value=features.FORMATS))
    for name in schemas.NOT_IN_STATISTICS:
        schema.feature.add(
            name=name,
            type=schema_pb2.BYTES,
            presence=schema_pb2.FeaturePresence(min_fraction=1.0, min_count=1),
            shape=schema_pb2.FixedShape(dim=[schema_pb2.FixedShape.Dim(size=1)]),
        )
    return schema


class Executor(base_executor.BaseExecutor):
    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        statistics = one(input_dict, "statistics")
        train = stats_artifact_utils.load_statistics(statistics, "train").proto()
        schema = infer(train, exec_properties["class_balance_threshold"])
        path = folder(output_dict, "schema") / schemas.FILE_NAME
        io_utils.write_pbtxt_file(str(path), schema)
