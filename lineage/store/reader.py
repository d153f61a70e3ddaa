"""The interface of whatever reads a store.

Everything here is read-only: no reader creates, changes or upgrades a store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from lineage.store.places import Places
from lineage.store.records import Artifact, Context, Event, Execution, Made, Taken, Value

Row = Sequence[Any]
"""Of a table."""
SCHEMA_VERSION = 10
"""MLMD's, of ml-metadata 1.14 to 1.17; the only one that is read."""


class Reader(Protocol):
    """What the questions need to know of a store.

    Ids that are not there are left out of what is returned.  URIs and properties that are
    paths say where the files are now, see `lineage.store.places`.
    """

    @property
    def places(self) -> Places: ...

    @property
    def where(self) -> str:
        """The store, for people; without password."""

    def close(self) -> None: ...

    def artifacts(self, ids: Collection[int]) -> dict[int, Artifact]: ...

    def executions(self, ids: Collection[int]) -> dict[int, Execution]: ...

    def contexts(self, ids: Collection[int]) -> dict[int, Context]: ...

    def artifacts_by_uri(self, uri: str) -> list[Artifact]:
        """By exact URI, as it is now or was when it was recorded; in the order of their ids."""

    def artifacts_by_type(
        self, type_name: str, where: Mapping[str, Value] | None = None
    ) -> list[Artifact]:
        """In the order of their ids.

        Args:
          where: custom properties (strings or integers) that they must have.
        """

    def artifact_values(
        self, type_name: str, keys: Collection[str], where: Mapping[str, Value] | None = None
    ) -> dict[int, dict[str, Value]]:
        """Some custom properties of every artifact of a type that has any of them.

        By artifact id; much cheaper than the artifacts.

        Args:
          where: as above.
        """

    def context(self, type_name: str, name: str) -> Context | None: ...

    def contexts_named(self, type_name: str, names: Collection[str]) -> dict[str, Context]:
        """By name."""

    def latest_contexts(
        self,
        type_name: str,
        limit: int | None = None,
        *,
        before: int | None = None,
        like: Mapping[str, Collection[str | None]] | None = None,
    ) -> list[Context]:
        """The newest (by id) first; all of them without a limit.

        Args:
          before: only those with smaller ids.
          like: by custom property, the strings it may be; None: not recorded.
        """

    def executions_in(self, context_ids: Collection[int]) -> dict[int, list[int]]:
        """Execution ids by context id, increasing."""

    def contexts_of(
        self, execution_ids: Collection[int], type_name: str | None = None
    ) -> dict[int, list[Context]]:
        """By execution id, in the order of their ids.

        Takes longer the larger the store is, unless the contexts of the type are few.

        Args:
          type_name: only these.
        """

    def events(self, execution_ids: Collection[int]) -> list[Event]:
        """Inputs and outputs of executions, sorted."""

    def producers(self, artifact_ids: Collection[int]) -> dict[int, int]:
        """The execution that made an artifact, by artifact id.

        Cached executions have output events too: the one that did the work is the
        earliest that was not cached.
        """

    def consumers(self, artifact_ids: Collection[int]) -> list[Event]:
        """Input events of the executions that did work on artifacts (not cached), sorted."""

    def takers(self, artifact_ids: Collection[int], cut: Collection[str] = ()) -> list[Taken]:
        """`consumers`, and nothing but the ids: there may be hundreds of thousands; sorted.

        Args:
          cut: keys of inputs that do not count.
        """

    def made_by(self, execution_ids: Collection[int]) -> list[Made]:
        """The outputs of executions, ids and types alone; sorted."""

    def values(
        self, kind: Literal["Artifact", "Execution"], ids: Collection[int], keys: Collection[str]
    ) -> dict[int, dict[str, Value]]:
        """Some custom properties, of those that have them."""

    def all_artifacts(self) -> Iterator[Artifact]:
        """In the order of their ids."""

    def all_events(self) -> Iterator[Event]:
        """All input and output events of the executions that there are, in any order."""

    def execution_states(self) -> dict[int, str]:
        """The state of every execution, by id."""
