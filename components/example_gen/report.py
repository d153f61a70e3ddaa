"""The report of an ingestion: what came in, what did not, and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.errors import DataError
from components.example_gen.config import DataConfig, evaluation_split
from components.example_gen.digest import dataset_digest
from components.example_gen.image_index import IndexedImage
from components.example_gen.records import Note, Notes, Quarantined, Source, check_labels, show
from components.example_gen.splits import SplitPlan, plan_splits, straddling

REPORT_FILE = "report.json"
QUARANTINE_FILE = "quarantine.jsonl"
_LISTED = 20
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
"""Those that JSON leaves as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything decided once all images are read."""

    plan: SplitPlan
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
    digests, images, quarantined = [], [], list(source.quarantined)
    extra_columns = set(source.extra_columns)
    for notes in all_notes:
        if notes.errors:
            raise DataError(notes.errors[0])
        digests += notes.digests
        images += notes.images
        quarantined += notes.quarantined
        extra_columns |= notes.extra_columns
    images.sort(key=lambda n: n.path)
    quarantined.sort(key=lambda q: q.path)
    _check_quarantine(images, quarantined, config)
    check_labels((n.label for n in images), "The usable images")
    plan = plan_splits(((n.sha256, n.label, n.given_split) for n in images), config.splits)
    report = {
        "dataset_digest": dataset_digest(digests),
        "evaluation_split": evaluation_split(config),
        "extra_columns": sorted(extra_columns),
        "ignored": dict(sorted(source.ignored.items())),
        "notices": list(source.notices),
        **_counts(images, plan, config),
        "quarantined": {
            "count": len(quarantined),
            "reasons": _sorted_counts(q.reason for q in quarantined),
        },
        "duplicates": _duplicates(images, plan),
    }
    indexed = [
        IndexedImage(n.sha256, plan.split_of(n.sha256, n.given_split), n.label, n.path)
        for n in images
    ]
    return Outcome(plan=plan, report=report, quarantined=quarantined, images=indexed)


def _check_quarantine(
    images: list[Note], quarantined: list[Quarantined], config: DataConfig
) -> None:
    total = len(images) + len(quarantined)
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
        + "\nRepair or remove them, or raise the fraction."
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
        "normalised": _sorted_counts(n.normalised for n in images if n.normalised),
        "width": {"min": min(n.width for n in images), "max": max(n.width for n in images)},
        "height": {"min": min(n.height for n in images), "max": max(n.height for n in images)},
    }


def _duplicates(images: list[Note], plan: SplitPlan) -> dict[str, Any]:
    """Finds equal contents; across splits (leakage) and labels (contradictions)."""
    paths: dict[str, list[str]] = {}
    for note in images:
        paths.setdefault(note.sha256, []).append(show(note.path))

    def listed(groups: dict[str, set[str]]) -> dict[str, Any]:
        first = [{"paths": paths[c][:_LISTED], "in": sorted(v)} for c, v in groups.items()]
        return {"count": len(groups), "first": first[:_LISTED]}

    splits = [(n.sha256, plan.split_of(n.sha256, n.given_split)) for n in images]
    return {
        "copies": len(images) - len(paths),
        "across_splits": listed(straddling(splits)),
        "across_labels": listed(straddling([(n.sha256, n.label) for n in images])),
    }


def _sorted_counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
