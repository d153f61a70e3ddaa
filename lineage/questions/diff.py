"""`lineage diff`: why two models or runs differ, as far as it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from common.errors import DataError
from lineage.images.index import (
    ImageChanges,
    check_whole,
    compare,
    image_count,
    index_path,
    reports_of,
)
from lineage.questions.recorded import Recorded, Section, recorded
from lineage.questions.schema_diff import schema_tables
from lineage.store.reader import Reader

Side = Literal["a", "b"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs."""

    section: Section | Literal["results"]
    key: str
    """Such as "optimizer", "augment.rotation", "numpy" or "class cat"."""
    before: Any
    """In a.  None: it is not there (a package, a config key)."""
    after: Any
    """In b."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """One thing that is known of one side only, so nobody can say whether it differs."""

    section: Section
    key: str
    side: Side
    """Where it is not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One of the two sides."""

    ref: str
    """As it was asked for."""
    run_id: str | None
    started: str | None
    """ISO 8601, UTC."""
    state: str | None
    """The run's, as `lineage runs` has it."""
    model_id: int | None
    """Artifact id; None where the run made no model."""
    pushed: tuple[str, ...]
    """name@version of the model's pushes, the newest last."""
    data_ids: tuple[int, ...]
    """Artifact ids of the Examples it was made from, usually one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChanges:
    """How two datasets differ, image by image."""

    images: ImageChanges | None
    """None where it cannot be told."""
    not_available: str | None
    """Why it cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Why b differs from a."""

    a: Compared
    b: Compared
    identical: bool
    """Nothing that is recorded of what made them differs; results may."""
    changes: tuple[Change, ...]
    """By section, in the order of `Section`."""
    data: DataChanges | None
    """None where it is the same, or the data of one side is not recorded."""
    results: tuple[Change, ...]
    """What came of it; not a cause."""
    unrecorded: tuple[Unrecorded, ...]


def diff(reader: Reader, a: str, b: str) -> Difference:
    """Compares two models or runs.

    Args:
      a, b: what `refs.find_model` takes, or runs that made no model.

    Raises:
      NotFoundError: one of them is not there.
    """
    one, other = recorded(reader, a), recorded(reader, b)
    collected = _Collected()
    for place in one.facts:
        collected.fact(*place, one.facts[place], other.facts[place])
    for section, prefix in one.tables:
        collected.table(section, prefix, one.tables[section, prefix], other.tables[section, prefix])
    _schema(one, other, collected)
    _uncommitted(one, other, collected)
    if one.facts["data", "digest"] == other.facts["data", "digest"] is not None:
        collected.forget("data", "source")  # the same images, read from elsewhere
    data = _data(reader, one, other, collected)
    order = get_args(Section)
    return Difference(
        a=_compared(one),
        b=_compared(other),
        identical=not collected.changes and data is None,
        changes=tuple(sorted(collected.changes, key=lambda c: order.index(c.section))),
        data=data,
        results=tuple(
            Change(section="results", key=key, before=before, after=other.results[key])
            for key, before in one.results.items()
            if before != other.results[key]
        ),
        unrecorded=tuple(sorted(collected.unrecorded, key=lambda u: order.index(u.section))),
    )


@dataclass(slots=True)
class _Collected:
    """Changes, as they are found."""

    changes: list[Change] = field(default_factory=list)
    unrecorded: list[Unrecorded] = field(default_factory=list)

    def fact(self, section: Section, key: str, before: Any, after: Any) -> None:
        """Two values; None is not recorded."""
        if (before is None) != (after is None):
            self.missing(section, key, "a" if before is None else "b")
        elif before != after:
            self.changes.append(Change(section=section, key=key, before=before, after=after))

    def table(
        self,
        section: Section,
        prefix: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Two tables, each recorded whole or not at all (None)."""
        if before is None or after is None:
            if before is not after:
                key = prefix.strip() or section
                self.missing(section, key, "a" if before is None else "b")
            return
        for key in sorted({*before, *after}):
            old, new = before.get(key), after.get(key)
            if old != new:
                change = Change(section=section, key=f"{prefix}{key}", before=old, after=new)
                self.changes.append(change)

    def missing(self, section: Section, key: str, side: Side) -> None:
        self.unrecorded.append(Unrecorded(section=section, key=key, side=side))

    def forget(self, section: Section, key: str) -> None:
        self.changes = [c for c in self.changes if (c.section, c.key) != (section, key)]


def _schema(one: Recorded, other: Recorded, collected: _Collected) -> None:
    a, b = one.schema, other.schema
    if a is None or b is None:
        if a is not b:
            collected.missing("schema", "contents", "a" if a is None else "b")
        return
    if a.artifact_id == b.artifact_id:
        return
    try:
        tables = schema_tables(a, b)
    except DataError:
        collected.fact("schema", "digest", a.digest, b.digest)
        if a.digest is None and b.digest is None:
            collected.missing("schema", "contents", "a")
            collected.missing("schema", "contents", "b")
        return
    if tables is not None:
        collected.table("schema", "", *tables)


def _uncommitted(one: Recorded, other: Recorded, collected: _Collected) -> None:
    """What was changed and not committed may differ where no digest of it is recorded."""
    sides: tuple[tuple[Side, Recorded], ...] = (("a", one), ("b", other))
    for side, of in sides:
        if of.run is not None and of.run.git_dirty and not of.run.git_changes:
            collected.missing("code", "what the uncommitted changes were", side)
        unknown = of.run is not None and not of.run.visionline_git_changes
        if of.run is not None and of.run.visionline_git_dirty and unknown:
            collected.missing("code", "what the uncommitted changes of visionline were", side)


def _data(
    reader: Reader, one: Recorded, other: Recorded, collected: _Collected
) -> DataChanges | None:
    a, b = ([d.artifact_id for d in side.data] for side in (one, other))
    if not a or not b or a == b:
        return None
    differs = any(c.section == "data" for c in collected.changes)
    try:
        if len(a) > 1 or len(b) > 1:
            raise DataError("one of them was made from several datasets")
        reports = reports_of(reader, {*a, *b})
        datasets = reader.artifacts({*a, *b})
        before, after = (index_path(reports.get(i)) for i in (a[0], b[0]))
        check_whole(before, image_count(datasets[a[0]]))
        check_whole(after, image_count(datasets[b[0]]))
        images = compare(before, after)
    except DataError as e:
        if one.facts["data", "digest"] is None and other.facts["data", "digest"] is None:
            collected.missing("data", "contents", "a")
            collected.missing("data", "contents", "b")
        return DataChanges(images=None, not_available=str(e)) if differs else None
    return DataChanges(images=images, not_available=None) if differs or images.total else None


def _compared(side: Recorded) -> Compared:
    return Compared(
        ref=side.ref,
        run_id=side.run.run_id if side.run else None,
        started=side.run.started if side.run else None,
        state=side.run.state if side.run else None,
        model_id=side.model.artifact_id if side.model else None,
        pushed=tuple(f"{p.name}@{p.version}" for p in side.pushes),
        data_ids=tuple(d.artifact_id for d in side.data),
    )
