"""What an ML Metadata store holds, as plain dataclasses.

Both readers (`lineage.store.reader`, and the tests' reference) return these, so that
everything above them is the same.  Times are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from common.record.record import value_of
from common.record.steps import Step

Value = str | int | float | bool | list[Any] | dict[str, Any] | None
"""A property.  MLMD's structs are dicts and lists; protos are not read (None)."""

ARTIFACT_STATES = (
    *("UNKNOWN", "PENDING", "LIVE", "MARKED_FOR_DELETION", "DELETED"),
    *("ABANDONED", "REFERENCE"),
)
EXECUTION_STATES = ("UNKNOWN", "NEW", "RUNNING", "COMPLETE", "FAILED", "CACHED", "CANCELED")
"""MLMD's enums, by number."""
DELETED = ARTIFACT_STATES.index("DELETED")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    id: int
    type: str
    name: str | None
    """MLMD's name; unique by type where there is one."""
    created: int
    updated: int
    properties: Mapping[str, Value]
    custom: Mapping[str, Value]
    imported: bool = field(default=False, compare=False)
    """Written by `lineage import`: it says what was so when it was exported."""

    def get(self, key: str) -> Value:
        """Returns a property, the custom one first; None where it is not recorded."""
        return self.custom[key] if key in self.custom else self.properties.get(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(_Node):
    uri: str
    state: str
    """One of ARTIFACT_STATES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution(_Node):
    state: str
    """One of EXECUTION_STATES."""

    @property
    def component(self) -> str:
        """Returns the node's id where it was recorded, else the last part of the type."""
        return value_of(self, Step.node_id) or self.type.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(_Node):
    pass


@dataclass(frozen=True, slots=True, order=True)
class Event:
    execution_id: int
    artifact_id: int
    kind: Literal["input", "output"]
    key: str
    """The channel's name, such as "examples"; "" where there is none."""
    index: int


class Taken(NamedTuple):
    """An artifact, and an execution that took it as an input."""

    artifact_id: int
    execution_id: int


class Made(NamedTuple):
    """An execution, and an artifact that it made."""

    execution_id: int
    artifact_id: int
    type: str
    """The artifact's."""
