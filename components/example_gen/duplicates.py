"""Images that are there more than once: copies, leaks between splits, contradicting labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.example_gen.records import Note, show

_LISTED = 20


class Duplicates:
    """Finds equal contents; across splits they are leaks, across labels contradictions."""

    def __init__(self) -> None:
        self._copies = 0
        self._splits, self._labels = _Several(), _Several()
        self._conflicting: set[str] = set()
        self._own: set[str] = set()
        self._images = 0

    def look(self, images: Sequence[Note], split_of: Callable[[Note], str]) -> None:
        """Looks through images sorted by path; copies of each other are all among them."""
        counts = Counter(n.sha256 for n in images)
        self._copies += len(images) - len(counts)
        copies = [n for n in images if counts[n.sha256] > 1]
        self._splits.add((n, split_of(n)) for n in copies)
        conflicting = self._labels.add((n, n.label) for n in copies)
        self._conflicting.update(*conflicting.values())
        self._own.update(n.label for n in images if n.sha256 not in conflicting)
        self._images += sum(n.sha256 in conflicting for n in copies)

    def found(self) -> dict[str, Any]:
        """Returns what the report says of all that was looked at."""
        return {
            "copies": self._copies,
            "across_splits": self._splits.listed(),
            "across_labels": {
                **self._labels.listed(),
                "images": self._images,
                # Each of their images stands in other classes too.
                "classes": sorted(self._conflicting - self._own),
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


class _Several:
    """Contents that come with more than one value: their number, and the first by path."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[tuple[bytes, dict[str, list[str]]]] = []

    def add(self, values: Iterable[tuple[Note, str]]) -> dict[str, set[str]]:
        """Takes copies with their values, sorted by path; returns SHA-256 → values."""
        by_content: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        paths: dict[str, bytes] = {}
        for note, value in values:
            paths.setdefault(note.sha256, note.path)
            by_content[note.sha256][value].append(show(note.path))
        found = {c: by_value for c, by_value in by_content.items() if len(by_value) > 1}
        self._count += len(found)
        both = (*self._first, *((paths[c], by_value) for c, by_value in found.items()))
        self._first = sorted(both, key=lambda first: first[0])[:_LISTED]
        return {c: set(by_value) for c, by_value in found.items()}

    def listed(self) -> dict[str, Any]:
        """Counts contents and lists the first; of their paths, one of each value comes first."""
        first = []
        for _, by_value in self._first:
            values = sorted(by_value)
            paths = [by_value[v][0] for v in values] + [p for v in values for p in by_value[v][1:]]
            first.append({"paths": paths[:_LISTED], "in": values})
        return {"count": self._count, "first": first}
