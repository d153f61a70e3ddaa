"""What TFX hands an executor: artifacts by key, and properties."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tfx.types import artifact_utils

from common.config.strict import parse

T = TypeVar("T")
Artifacts = dict[str, list[Any]]
Properties = dict[str, Any]


def one(artifacts: Mapping[str, Sequence[Any]], key: str) -> Any:
    """Returns the artifact of a key that has one."""
    (artifact,) = artifacts[key]
    return artifact


def folder(artifacts: Mapping[str, Sequence[Any]], key: str) -> Path:
    """Returns where the files of the one artifact of a key are."""
    return Path(one(artifacts, key).uri)


def split(artifacts: Mapping[str, Sequence[Any]], key: str, name: str) -> Path:
    """Returns where the files of a split of the one artifact of a key are."""
    return Path(artifact_utils.get_split_uri([one(artifacts, key)], name))


def config(cls: type[T], properties: Properties, key: str = "config", where: str = "") -> T:
    """Returns the dataclass that a property holds as JSON.

    Args:
      where: its place in the config file, for error messages, such as "train.".

    Raises:
      ConfigError: it is none.
    """
    return parse(cls, json.loads(properties[key]), where)
