"""The report of an ingestion: what came in, what did not, and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import DataError
from components.example_gen.config import DataConfig, evaluation_split
from components.example_gen.digest import Digests
from components.example_gen.duplicates import Duplicates, duplicate_notices
from components.example_gen.image_index import IndexedImage
from components.example_gen.notebook import Notebook
from components.example_gen.records import (
    OUTSIDE,
    Note,
    Notes,
    Quarantined,
    Source,
    alike,
    check_labels,
    printable,
    show,
)
from components.example_gen.shards.formats import SHARDS
from components.example_gen.splits import SplitPlan, no_share, plan_splits

REPORT_FILE = "report.json"
QUARANTINE_FILE = "quarantine.jsonl"
_FEW_OUTSIDE = 10
"""Images outside the class folders, such as a cover or a chart, that never fail a run."""
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
"""Those that JSON leaves as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything decided once all images are read."""

    plan: SplitPlan
    fingerprint: str
    """Of the files that were read."""
    report: dict[str, Any]
    quarantined: list[Quarantined]
    notebook: Notebook

    def quarantine_lines(self) -> Iterable[str]:
        for q in self.quarantined:
            line = {"path": show(q.path), "label": q.label, "reason": q.reason, "detail": q.detail}
            # Readers that end lines as Unicode does must not do so within one.
            text = json.dumps(line, ensure_ascii=False)
            yield _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", text) + "\n"

    def images(self) -> Iterator[list[IndexedImage]]:
        """Yields what was ingested and where it went, by the beginning of the SHA-256."""
        for part in self.notebook.parts():
            yield [IndexedImage(n.sha256, _split(n, self.plan), n.label, n.path) for n in part]


def conclude(
    source: Source, config: DataConfig, all_notes: Iterable[Notes], scratch: Path | None = None
) -> Outcome:
    """Makes splits and report from the notes of all batches.

    Args:
      scratch: where notes wait that are too many for memory.

    Raises:
      DataError: too much in quarantine, one class left, an empty split.
    """
    notebook, read, tally = Notebook(scratch), Digests(), _Tally()
    quarantined = list(source.quarantined)
    extra_columns = set(source.extra_columns)
    for notes in all_notes:
        if notes.errors:
            raise DataError(notes.errors[0])
        read.add(notes.read)
        notebook.add(notes.images)
        tally.count(notes.images)
        quarantined += notes.quarantined
        extra_columns |= notes.extra_columns
    quarantined.sort(key=lambda q: q.path)
    _check_quarantine(len(notebook), quarantined, config)
    _check_splits(tally.given, config)
    check_labels(tally.labels, "The usable images")
    plan = plan_splits(
        lambda: ([(n.sha256, n.label, n.given_split) for n in p] for p in notebook.parts()),
        tally.given,
        config.splits,
    )
    splits, found = _placed(notebook, plan, config)
    notices = _notices(source, config, tally, quarantined, found)
    report = {
        "dataset_digest": tally.digests.of_all(),
        "evaluation_split": evaluation_split(config),
        "extra_columns": sorted(extra_columns),
        "ignored": dict(sorted(source.ignored.items())),
        "images": len(notebook),
        "classes": sorted(tally.labels),
        "bytes": tally.bytes,
        **splits,
        **tally.report(),
        "quarantined": {
            "count": len(quarantined),
            "reasons": _sorted(Counter(q.reason for q in quarantined)),
        },
        "duplicates": found,
        "notices": list(dict.fromkeys(map(printable, notices))),
    }
    return Outcome(
        plan=plan,
        fingerprint=read.of_all(),
        report=report,
        quarantined=quarantined,
        notebook=notebook,
    )


@dataclass(slots=True)
class _Tally:
    """What is counted of usable images, wherever they go."""

    digests: Digests = field(default_factory=Digests)
    labels: set[str] = field(default_factory=set)
    given: set[str | None] = field(default_factory=set)
    bytes: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    bits: Counter[int] = field(default_factory=Counter)
    normalised: Counter[str] = field(default_factory=Counter)
    widths: set[int] = field(default_factory=set)
    heights: set[int] = field(default_factory=set)

    def count(self, images: list[Note]) -> None:
        self.digests.add(n.digest for n in images)
        self.labels.update(n.label for n in images)
        self.given.update(n.given_split for n in images)
        self.bytes += sum(n.size for n in images)
        self.formats.update(n.format for n in images)
        self.bits.update(n.bits for n in images if n.bits is not None)
        self.normalised.update(n.normalised for n in images if n.normalised)
        self.widths.update(n.width for n in images)
        self.heights.update(n.height for n in images)

    def report(self) -> dict[str, Any]:
        return {
            "formats": _sorted(self.formats),
            "sample_bits": _sorted(Counter({str(b): n for b, n in self.bits.items()})),
            "normalised": _sorted(self.normalised),
            "width": {"min": min(self.widths), "max": max(self.widths)},
            "height": {"min": min(self.heights), "max": max(self.heights)},
        }


def _split(note: Note, plan: SplitPlan) -> str:
    return plan.split_of(note.sha256, note.given_split)


def _placed(
    notebook: Notebook, plan: SplitPlan, config: DataConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the report says of where images go, and of their duplicates."""
    by_split: dict[str, Counter[str]] = {name: Counter() for name in config.split_names}
    duplicates, moved = Duplicates(), []
    classes: set[str] = set()
    for part in notebook.parts():
        part.sort(key=lambda n: n.path)
        duplicates.look(part, lambda n: _split(n, plan))
        for n in part:
            by_split[_split(n, plan)][n.label] += 1
            if n.sha256 in plan.moved and n.given_split in (None, "train"):
                moved.append(n)
        classes.update(n.label for n in part)
    moved.sort(key=lambda n: n.path)
    splits = {
        "splits": {
            name: {"images": counts.total(), "classes": _sorted(counts)}
            for name, counts in by_split.items()
        },
        "classes_without_train_images": sorted(classes - by_split["train"].keys()),
        "moved_between_splits": [
            {"path": show(n.path), "split": plan.moved[n.sha256]} for n in moved
        ],
    }
    return splits, duplicates.found()


def _check_splits(given: set[str | None], config: DataConfig) -> None:
    """Checks splits that only the images themselves said."""
    if None in given and len(given) > 1:
        raise DataError("Some images come with a split and some without; fill all or none.")
    for split in given:
        if split not in (None, *config.split_names):
            raise DataError(no_share(split))


def check_listed(source: Source, config: DataConfig) -> None:
    """Refuses a source of which too much is missing, before an image is read.

    Raises:
      DataError: naming the first of what is missing.
    """
    missing = [
        Quarantined(path=r.path, label=r.label, reason="missing", detail=r.hint)
        for r in source.records
        if r.hint
    ]
    known = sorted([*missing, *source.quarantined], key=lambda q: q.path)
    _check_quarantine(len(source.records) - len(missing), known, config)


def _check_quarantine(usable: int, quarantined: Sequence[Quarantined], config: DataConfig) -> None:
    outside = [q for q in quarantined if q.reason == OUTSIDE]
    if len(outside) <= _FEW_OUTSIDE:
        quarantined = [q for q in quarantined if q.reason != OUTSIDE]
    total = usable + len(quarantined)
    if len(quarantined) <= config.max_quarantine_fraction * total:
        return
    lines = [
        f"  {show(q.path)}: {q.reason}" + (f" ({q.detail})" if q.detail else "")
        for q in quarantined[:5]
    ]
    more = len(quarantined) - len(lines)
    raise DataError(
        f"{len(quarantined)} of {total} images are unusable, more than "
        f"data.max_quarantine_fraction = {config.max_quarantine_fraction:g} allows:\n"
        + "\n".join(lines)
        + (f"\n  and {more} more" if more else "")
        + "\nRepair or remove them, leave them aside with data.ignore, or raise the fraction."
    )


def _notices(
    source: Source,
    config: DataConfig,
    tally: _Tally,
    quarantined: list[Quarantined],
    duplicates: dict[str, Any],
) -> Iterator[str]:
    """Yields what a person should know of what was listed and read."""
    yield from source.notices
    classes = tally.labels
    yield from alike(classes)
    if source.kind in SHARDS and all(label.isdecimal() for label in classes):
        yield (
            "The labels are numbers without names, so the classes are called by their numbers; "
            "data.class_names names them."
        )
    yield from _depth_notices(tally.bits, config.depth)
    gone: dict[str, list[Quarantined]] = {}
    for q in quarantined:
        if q.label and q.label not in classes:
            gone.setdefault(q.label, []).append(q)
    for label, unusable in sorted(gone.items()):
        first = unusable[0]
        yield (
            f"The class {label!r} is left out, none of its images is usable ({len(unusable)}; "
            f"{show(first.path)}: {first.reason})."
        )
    yield from duplicate_notices(duplicates)


def _depth_notices(used: Counter[int], depth: int) -> Iterator[str]:
    """Yields that files of 16 bits hold fewer, or more than was said."""
    if not used:
        return
    bits = max(*used, 8)
    if bits < depth:
        yield (
            f"{used.total()} images have samples of 16 bits and use at most {bits} of them, so "
            f"models see {1 << max(bits + 8 - depth, 0)} of 256 shades; if they hold {bits}-bit "
            f"data, set data.depth = {bits}."
        )
    elif over := sum(count for b, count in used.items() if b > depth):
        yield (
            f"{over} of {used.total()} images of 16 bits have samples above {(1 << depth) - 1:,}, "
            f"which data.depth = {depth} makes white; for all of them it is {bits}."
        )


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
