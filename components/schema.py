"""Reading, describing and freezing the schema of raw examples.

Needs neither TFX nor TensorFlow Data Validation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.errors import DataError
from common.files import write_atomic
from modelstore import raw_example as features

FILE_NAME = "schema.pbtxt"

NOT_IN_STATISTICS = (features.ENCODED, features.PATH, features.SHA256)
"""Features of every raw example that statistics say nothing useful about."""

_CLASS_COUNTS = "class_counts"


def read(path: str) -> schema_pb2.Schema:
    """Reads a schema file, or the one in a directory; raises DataError."""
    path = _file(path)
    try:
        return text_format.Parse(Path(path).read_text("utf-8"), schema_pb2.Schema())
    except (OSError, ValueError, text_format.ParseError) as e:
        raise DataError(f"{path}: expected a schema ({FILE_NAME}): {e}") from None


def freeze(schema_uri: str, destination: str) -> str:
    """Copies a schema out of a run, to be committed, edited and imported.

    Args:
      schema_uri: the Schema artifact's directory.
      destination: a file, or an existing directory for `schema.pbtxt`.

    Returns:
      The path of the file, which is replaced whole or not at all.
    """
    text = text_format.MessageToString(read(schema_uri), as_utf8=True)
    destination = _file(destination)
    path = Path(destination).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return destination


def _file(path: str) -> str:
    return os.path.join(path, FILE_NAME) if os.path.isdir(path) else path


def feature(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    """Returns a feature by name; raises DataError where there is none."""
    for candidate in schema.feature:
        if candidate.name == name:
            return candidate
    raise DataError(f"The schema has no feature {name!r}; freeze it from a run of this pipeline.")


def classes(schema: schema_pb2.Schema) -> list[str]:
    """Returns the class names the schema allows, in its order."""
    label = feature(schema, features.LABEL)
    for domain in schema.string_domain:
        if domain.name == label.domain:
            return list(domain.value)
    return list(label.string_domain.value)


def class_counts(schema: schema_pb2.Schema) -> dict[str, int]:
    """Returns the train images per class when the schema was made; empty where unknown."""
    for comment in feature(schema, features.LABEL).annotation.comment:
        try:
            counts = json.loads(comment)
        except ValueError:
            continue  # a comment somebody wrote
        if isinstance(counts, dict) and _CLASS_COUNTS in counts:
            return dict(counts[_CLASS_COUNTS])
    return {}


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Returns the share of each class in the images."""
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def set_class_counts(schema: schema_pb2.Schema, counts: Mapping[str, int]) -> None:
    """Makes `counts` the label's domain, and keeps them in its annotation."""
    label = feature(schema, features.LABEL)
    for domain in list(schema.string_domain):
        if domain.name in (label.domain, features.LABEL):
            schema.string_domain.remove(domain)
    schema.string_domain.add(name=features.LABEL, value=sorted(counts))
    label.domain = features.LABEL
    comment = json.dumps({_CLASS_COUNTS: dict(sorted(counts.items()))}, ensure_ascii=False)
    label.annotation.comment.append(comment)
