"""The report of an ingestion: what came in, what did not, and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import DataError
from components.example_gen.config import DataConfig, evaluation_split
from components.example_gen.digest import digest_of_all
from components.example_gen.duplicates import duplicate_notices, find_duplicates
from components.example_gen.image_index import IndexedImage
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
    images: list[IndexedImage]
    """What was ingested, and where it went."""

    def quarantine_lines(self) -> Iterable[str]:
        for q in self.quarantined:
            line = {"path": show(q.path), "label": q.label, "reason": q.reason, "detail": q.detail}
            # Readers that end lines as Unicode does must not do so within one.
            text = json.dumps(line, ensure_ascii=False)
            yield _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", text) + "\n"


def conclude(source: Source, config: DataConfig, all_notes: Iterable[Notes]) -> Outcome:
    """Makes splits and report from the notes of all batches.

    Raises:
      DataError: too much in quarantine, one class left, an empty split.
    """
    read, images, quarantined = [], [], list(source.quarantined)
    extra_columns = set(source.extra_columns)
    for notes in all_notes:
        if notes.errors:
            raise DataError(notes.errors[0])
        read += notes.read
        images += notes.images
        quarantined += notes.quarantined
        extra_columns |= notes.extra_columns
    images.sort(key=lambda n: n.path)
    quarantined.sort(key=lambda q: q.path)
    _check_quarantine(len(images), quarantined, config)
    _check_splits(images, config)
    check_labels((n.label for n in images), "The usable images")
    plan = plan_splits(((n.sha256, n.label, n.given_split) for n in images), config.splits)
    duplicates = find_duplicates(images, lambda n: plan.split_of(n.sha256, n.given_split))
    notices = _notices(source, config, images, quarantined, duplicates)
    report = {
        "dataset_digest": digest_of_all(n.digest for n in images),
        "evaluation_split": evaluation_split(config),
        "extra_columns": sorted(extra_columns),
        "ignored": dict(sorted(source.ignored.items())),
        **_counts(images, plan, config),
        "quarantined": {
            "count": len(quarantined),
            "reasons": _sorted_counts(q.reason for q in quarantined),
        },
        "duplicates": duplicates,
        "notices": list(dict.fromkeys(map(printable, notices))),
    }
    indexed = [
        IndexedImage(n.sha256, plan.split_of(n.sha256, n.given_split), n.label, n.path)
        for n in images
    ]
    return Outcome(
        plan=plan,
        fingerprint=digest_of_all(read),
        report=report,
        quarantined=quarantined,
        images=indexed,
    )


def _check_splits(images: list[Note], config: DataConfig) -> None:
    """Checks splits that only the images themselves said."""
    given = {n.given_split for n in images}
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
    images: list[Note],
    quarantined: list[Quarantined],
    duplicates: dict[str, Any],
) -> Iterator[str]:
    """Yields what a person should know of what was listed and read."""
    yield from source.notices
    classes = {n.label for n in images}
    yield from alike(classes)
    if source.kind in SHARDS and all(label.isdecimal() for label in classes):
        yield (
            "The labels are numbers without names, so the classes are called by their numbers; "
            "data.class_names names them."
        )
    yield from _depth_notices(images, config)
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


def _depth_notices(images: list[Note], config: DataConfig) -> Iterator[str]:
    """Yields that files of 16 bits hold fewer, or more than was said."""
    used = [n.bits for n in images if n.bits is not None]
    if not used:
        return
    bits, depth = max(*used, 8), config.depth
    if bits < depth:
        yield (
            f"{len(used)} images have samples of 16 bits and use at most {bits} of them, so "
            f"models see {1 << max(bits + 8 - depth, 0)} of 256 shades; if they hold {bits}-bit "
            f"data, set data.depth = {bits}."
        )
    elif over := sum(b > depth for b in used):
        yield (
            f"{over} of {len(used)} images of 16 bits have samples above {(1 << depth) - 1:,}, "
            f"which data.depth = {depth} makes white; for all of them it is {bits}."
        )


def _counts(images: list[Note], plan: SplitPlan, config: DataConfig) -> dict[str, Any]:
    by_split: dict[str, Counter[str]] = {name: Counter() for name in config.split_names}
    for note in images:
        by_split[plan.split_of(note.sha256, note.given_split)][note.label] += 1
    classes = sorted({n.label for n in images})
    return {
        "images": len(images),
        "classes": classes,
        "bytes": sum(n.size for n in images),
        "splits": {
            name: {"images": counts.total(), "classes": dict(sorted(counts.items()))}
            for name, counts in by_split.items()
        },
        "classes_without_train_images": [c for c in classes if c not in by_split["train"]],
        "moved_between_splits": [
            {"path": show(n.path), "split": plan.moved[n.sha256]}
            for n in images
            if n.sha256 in plan.moved and n.given_split in (None, "train")
        ],
        "formats": _sorted_counts(n.format for n in images),
        "sample_bits": _sorted_counts(str(n.bits) for n in images if n.bits is not None),
        "normalised": _sorted_counts(n.normalised for n in images if n.normalised),
        "width": {"min": min(n.width for n in images), "max": max(n.width for n in images)},
        "height": {"min": min(n.height for n in images), "max": max(n.height for n in images)},
    }


def _sorted_counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
