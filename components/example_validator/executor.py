"""What is wrong with the examples: TFDV's anomalies and those of classes and labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfx.components.example_validator import executor as base
from tfx.components.example_validator import labels
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import standard_component_specs
from tfx.utils import writer_utils

import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2  # isort: skip

from common.errors import DataError, nearest
from common.files import read_json
from components import executor_io
from components import schema as schemas
from components.example_gen.duplicates import first_pair
from components.example_gen.report import REPORT_FILE
from components.executor_io import Artifacts, Properties, folder
from components.statistics.executor import value_counts
from modelstore import raw_example as features
from trainers.classes import NeededClasses

UNSEEN_CLASS = "unseen-class"
VANISHED_CLASS = "vanished-class"
CLASS_BALANCE = "class-balance"
CONFLICTING_LABELS = "conflicting-labels"
COPIED_CLASS = "copied-class"
KINDS = (UNSEEN_CLASS, VANISHED_CLASS, CLASS_BALANCE, CONFLICTING_LABELS, COPIED_CLASS)

_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    split: str
    kind: str
    """One of KINDS, or the name of the feature that TFDV finds fault with."""
    message: str

    def __str__(self) -> str:
        return f"{self.message} (split {self.split}; accept as {self.kind!r})"


def class_anomalies(
    split: str, counts: Mapping[str, int], schema: schema_pb2.Schema
) -> list[Anomaly]:
    """Says what differs between a split's classes and the schema's.

    Vanished classes and the balance are matters of the train split: others
    may be too small to tell, or balanced differently on purpose.
    """
    classes = set(schemas.classes(schema))
    unseen = (
        f"label: class {name!r} ({counts[name]} images) is not in the schema"
        for name in sorted(set(counts) - classes)
    )
    vanished = (
        f"label: class {name!r} of the schema has no train images"
        for name in sorted(classes - set(counts))
    )
    messages: dict[str, Iterable[str]] = {UNSEEN_CLASS: unseen}
    if split == "train":
        messages |= {VANISHED_CLASS: vanished, CLASS_BALANCE: _imbalances(counts, schema)}
    return [Anomaly(split=split, kind=k, message=m) for k, texts in messages.items() for m in texts]


def _imbalances(counts: Mapping[str, int], schema: schema_pb2.Schema) -> Iterator[str]:
    then, now = schemas.shares(schemas.class_counts(schema)), schemas.shares(counts)
    comparator = schemas.feature(schema, features.LABEL).drift_comparator
    if not comparator.HasField("infinity_norm"):
        return
    threshold = comparator.infinity_norm.threshold
    for name in sorted(set(then) & set(now)):
        if abs(then[name] - now[name]) > threshold:
            yield (
                f"label: class {name!r} is {now[name]:.1%} of the train images, was "
                f"{then[name]:.1%} (more than {threshold:.1%} apart)"
            )


def label_anomalies(report: Mapping[str, Any], most_conflicting: float) -> list[Anomaly]:
    """Says which labels cannot be right: of images that are there under another one too.

    Args:
      report: what ingestion found, `report.json`.
      most_conflicting: the fraction of the images that may be there so.
    """
    found = report["duplicates"]["across_labels"]
    anomalies = [
        Anomaly(
            split="train",
            kind=COPIED_CLASS,
            message=f"label: every image of class {name!r} is there under another label too",
        )
        for name in found["classes"]
    ]
    if found["images"] > most_conflicting * report["images"]:
        message = (
            f"label: {found['images']} of {report['images']} images are there under more than one "
            f"label, more than {most_conflicting:.1%}, such as {first_pair(found)}"
        )
        anomalies.append(Anomaly(split="train", kind=CONFLICTING_LABELS, message=message))
    return anomalies


class Executor(base.Executor):
    """TFX's executor with class checks; fails on anomalies not accepted."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates every split.

        Raises:
          DataError: one line for each anomaly that is not accepted.
          ConfigError: the training needs other classes.
        """
        self._anomalies: list[Anomaly] = []
        self._features: set[str] = set()
        self._classes: dict[str, set[str]] = {}
        self._of_labels = label_anomalies(
            read_json(folder(input_dict, "report") / REPORT_FILE),
            json.loads(exec_properties["max_conflicting_fraction"]),
        )
        output = super().Do(input_dict, output_dict, exec_properties)
        accepted = set(json.loads(exec_properties["accepted"]))
        refused = [a for a in self._anomalies if a.kind not in accepted]
        if refused:
            raise DataError(_message(refused))
        self._check_trained()
        executor_io.config(NeededClasses, exec_properties, "needed").check(self._classes["train"])
        for column in json.loads(exec_properties["slices"]):
            if column not in self._features:
                raise DataError(
                    f"evaluate.slices: the images have no column {column!r}."
                    f"{nearest(column, self._features)}"
                )
        return output

    def _check_trained(self) -> None:
        """A class that no model can learn is no anomaly to accept: it cannot be judged."""
        for split, classes in self._classes.items():
            for name in sorted(classes - self._classes.get("train", classes)):
                raise DataError(
                    f"label: class {name!r} has images in the split {split!r} and none in "
                    "'train', so no model can know it. Move some of them to train, or remove them."
                )

    def _Validate(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> anomalies_pb2.Anomalies:
        """Validates one split; called by TFX's executor."""
        statistics = inputs[standard_component_specs.STATISTICS_KEY]
        schema = inputs[standard_component_specs.SCHEMA_KEY]
        uri = outputs[labels.SCHEMA_DIFF_PATH]
        split = os.path.basename(uri.rstrip("/")).removeprefix("Split-")
        self._features |= {f.path.step[0] for f in statistics.datasets[0].features}
        anomalies = tfdv.validate_statistics(statistics, _validated_part(schema))
        of_features = _tfdv_anomalies(split, anomalies)
        counts = value_counts(statistics, features.LABEL)
        self._classes[split] = set(counts)
        of_classes = class_anomalies(split, counts, schema)
        if split == "train":  # of all splits together
            of_classes += self._of_labels
        _add(anomalies, of_classes)
        self._anomalies += of_classes + of_features
        writer_utils.write_anomalies(os.path.join(uri, base.DEFAULT_FILE_NAME), anomalies)
        return anomalies


def _validated_part(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Returns the schema without the features that have no statistics."""
    part = schema_pb2.Schema()
    part.CopyFrom(schema)
    del part.feature[:]
    part.feature.extend(f for f in schema.feature if f.name not in schemas.NOT_IN_STATISTICS)
    return part


def _tfdv_anomalies(split: str, anomalies: anomalies_pb2.Anomalies) -> list[Anomaly]:
    """Lists TFDV's anomalies, less the unseen classes, which are told one by one."""
    listed = []
    for name, info in sorted(anomalies.anomaly_info.items()):
        for reason in info.reason:
            if name == features.LABEL and (
                reason.type == anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES
            ):
                continue
            message = f"{name}: {reason.short_description}. {reason.description}".rstrip()
            listed.append(Anomaly(split=split, kind=name, message=message))
    if anomalies.HasField("dataset_anomaly_info"):
        message = f"dataset: {anomalies.dataset_anomaly_info.description}"
        listed.append(Anomaly(split=split, kind="dataset", message=message))
    return listed


def _add(anomalies: anomalies_pb2.Anomalies, of_classes: list[Anomaly]) -> None:
    """Puts class anomalies into the artifact, beside TFDV's."""
    for anomaly in of_classes:
        info = anomalies.anomaly_info[features.LABEL]
        info.path.step[:] = [features.LABEL]
        info.severity = anomalies_pb2.AnomalyInfo.ERROR
        info.reason.add(
            type=anomalies_pb2.AnomalyInfo.CUSTOM_VALIDATION,
            short_description=anomaly.kind,
            description=anomaly.message,
        )
    if of_classes:
        info.short_description = "Class anomalies"
        info.description = "; ".join(r.description for r in info.reason)


def _message(refused: list[Anomaly]) -> str:
    lines = [f"  {anomaly}" for anomaly in refused[:_LISTED]]
    if len(refused) > _LISTED:
        lines.append(f"  and {len(refused) - _LISTED} more")
    return (
        "The images are not as they should be:\n"
        + "\n".join(lines)
        + "\nCorrect the images, accept these kinds in the config, or freeze a new schema."
    )
