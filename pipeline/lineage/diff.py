"""`lineage diff`: why two models or runs differ, as far as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.lineage.images import ImageChanges

Section = Literal[
    "data",
    "framework",
    "hyper-parameters",
    "transform",
    "schema",
    "code",
    "seed",
    "packages",
    "hardware",
    "evaluation",
]
"""What can make two models differ, the likeliest first."""
Side = Literal["a", "b"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs."""

    section: Section | Literal["results"]
    key: str
    """Such as "optimizer", "augment.rotation", "numpy" or "feature image/width"."""
    before: Any
    """In a.  None: it is not there (a package, a config key)."""
    after: Any
    """In b."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """One thing that is known of one side only, so nobody can say whether it differs."""

    section: Section | Literal["results"]
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
    """The run's: running, complete, failed or cancelled."""
    model_id: int | None
    """Artifact id; None where the run made no model."""
    pushed: tuple[str, ...]
    """name@version of the model's pushes, the newest last."""
    data_id: int | None
    """Artifact id of the Examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChanges:
    """How two datasets of different digests differ, image by image."""

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
    """None where the data is the same, or one side's is not recorded."""
    results: tuple[Change, ...]
    """What came of it; not a cause."""
    unrecorded: tuple[Unrecorded, ...]
