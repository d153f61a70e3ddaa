"""Images that are there more than once: copies, leaks between splits, contradicting labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.example_gen.records import Note, show

_LISTED = 20


def find_duplicates(images: Sequence[Note], split_of: Callable[[Note], str]) -> dict[str, Any]:
    """Finds equal contents; across splits they are leaks, across labels contradictions."""
    counts = Counter(n.sha256 for n in images)
    copies = [n for n in images if counts[n.sha256] > 1]
    labels = _several((n, n.label) for n in copies)
    conflicting = {content: set(by_label) for content, by_label in labels.items()}
    own = {n.label for n in images if n.sha256 not in conflicting}
    return {
        "copies": len(images) - len(counts),
        "across_splits": _listed(_several((n, split_of(n)) for n in copies)),
        "across_labels": {
            **_listed(labels),
            "images": sum(n.sha256 in conflicting for n in images),
            # Each of their images stands in other classes too.
            "classes": sorted(set().union(*conflicting.values()) - own),
        },
    }


def duplicate_notices(duplicates: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line each on contradictions and on leaks, with the first pair."""
    for kind, what in (("across_labels", "label"), ("across_splits", "split")):
        if count := duplicates[kind]["count"]:
            images = f"{count} images are" if count > 1 else "1 image is"
            yield f"{images} there under more than one {what}: {first_pair(duplicates[kind])}."
    for name in duplicates["across_labels"]["classes"]:
        yield f"Every image of class {name!r} is there under another label too."


def first_pair(listed: Mapping[str, Any]) -> str:
    """Names two files of one content, and in which label or split they are."""
    first = listed["first"][0]
    pairs = [f"{path} ({value})" for path, value in zip(first["paths"], first["in"], strict=False)]
    return " and ".join(pairs[:2])


def _several(values: Iterable[tuple[Note, str]]) -> dict[str, dict[str, list[str]]]:
    """Returns contents that come with more than one value: SHA-256 → value → paths."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for note, value in values:
        found[note.sha256][value].append(show(note.path))
    return {content: by_value for content, by_value in found.items() if len(by_value) > 1}


def _listed(contents: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """Counts contents and lists the first; of their paths, one of each value comes first."""
    first = []
    for by_value in list(contents.values())[:_LISTED]:
        values = sorted(by_value)
        paths = [by_value[v][0] for v in values] + [p for v in values for p in by_value[v][1:]]
        first.append({"paths": paths[:_LISTED], "in": values})
    return {"count": len(contents), "first": first}
