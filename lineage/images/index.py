"""Which images a dataset was made of: its index, searched in place, and two compared.

ImageExampleGen writes the index into its report, see
`components.example_gen.image_index`.  An index is never read whole into memory, and a
comparison keeps no more than the copies of one image.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

from common.errors import DataError
from common.record.artifacts import Examples
from common.record.kinds import REPORT
from common.record.record import value_of
from components.example_gen.image_index import IMAGES_FILE, SHA256_LENGTH, IndexedImage, from_line
from lineage.store.reader import Reader
from lineage.store.records import Artifact

_BLOCK = 2**20
LISTED = 10
"""Images that a comparison names of each kind."""


Unsearchable = Literal["not recorded", "deleted", "gone", "older", "unreadable", "elsewhere"]
"""Why a dataset has no index: no report was recorded; the report is marked as deleted;
its files are gone; it is older than the index; the file is no index, or not all of one;
it is on another machine."""


class NoIndexError(DataError):
    """A dataset's index cannot be used."""

    def __init__(self, reason: Unsearchable, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChange:
    """One image that is not the same in two datasets, a and b."""

    sha256: str
    path: str | None
    """In b; None where it was removed."""
    path_before: str | None
    """In a; None where it was added."""
    label: str | None
    label_before: str | None
    split: str | None
    split_before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """The images that changed in one way."""

    count: int
    by: dict[str, int]
    """How many by class; of relabelled ones by "old → new" class, of moved ones by
    "old → new" split."""
    first: tuple[ImageChange, ...]
    """The first of them, in the order of their SHA-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChanges:
    """How the images of two datasets differ.  Images are the same by their content.

    One that was both relabelled and moved is in both groups.
    """

    added: ImageGroup
    removed: ImageGroup
    relabelled: ImageGroup
    moved: ImageGroup
    """Between splits."""
    renamed: ImageGroup
    """Under another path, and otherwise the same."""

    @property
    def total(self) -> int:
        groups = (self.added, self.removed, self.relabelled, self.moved, self.renamed)
        return sum(g.count for g in groups)


def reports_of(reader: Reader, examples_ids: Collection[int]) -> dict[int, Artifact]:
    """The ingestion report that was made with each dataset, by the dataset's id."""
    makers = reader.producers(examples_ids)
    made = [e for e in reader.events(set(makers.values())) if e.kind == "output"]
    artifacts = reader.artifacts({e.artifact_id for e in made})
    by_maker = {
        e.execution_id: artifacts[e.artifact_id]
        for e in made
        if e.artifact_id in artifacts and artifacts[e.artifact_id].type == REPORT
    }
    return {i: by_maker[maker] for i, maker in makers.items() if maker in by_maker}


def image_count(examples: Artifact) -> int | None:
    """As the dataset says that it has; None where it does not."""
    return value_of(examples, Examples.image_count)


def index_path(report: Artifact | None) -> Path:
    """Where a dataset's index is.

    Raises:
      NoIndexError: there is none (any more).
    """
    if report is None:
        raise NoIndexError("not recorded", "no ingestion report was recorded with the dataset")
    if report.state != "LIVE":
        raise NoIndexError("deleted", f"its ingestion report {report.uri} is {report.state}")
    path = Path(report.uri) / IMAGES_FILE
    if path.is_file():
        return path
    if Path(report.uri).is_dir():
        raise NoIndexError(
            "older", f"it was ingested before there were indexes: no {IMAGES_FILE} in {report.uri}"
        )
    raise NoIndexError("gone", f"the files of its ingestion report {report.uri} are gone")


def find(
    index: Path, wanted: Collection[str], count: int | None = None
) -> dict[str, list[IndexedImage]]:
    """The images of some contents, by binary search.

    Args:
      wanted: SHA-256, hexadecimal.
      count: of the images in the index, where that is known.

    Raises:
      NoIndexError: the file cannot be read, or is no index, or not all of it is there.
    """
    check_whole(index, count)
    images: dict[str, list[IndexedImage]] = {}
    try:
        with open(index, "rb") as f:
            if index.stat().st_size == 0:
                return {}
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                for sha256 in wanted:
                    key = sha256.encode()
                    mapped.seek(_first(mapped, key))
                    while (line := mapped.readline()).startswith(key):
                        images.setdefault(sha256, []).append(from_line(line.rstrip(b"\n")))
    except (OSError, ValueError) as e:
        raise _broken(index, e) from None
    return images


def check_whole(index: Path, count: int | None) -> None:
    """Raises NoIndexError where an index has not as many lines as there were images."""
    lines, last = 0, b"\n"
    try:
        with open(index, "rb") as f:
            while block := f.read(_BLOCK):
                lines, last = lines + block.count(b"\n"), block[-1:]
        if last != b"\n" or lines != (lines if count is None else count):
            raise ValueError(f"it has {lines:,} lines; {count or 'more'} images were ingested")
    except (OSError, ValueError) as e:
        raise _broken(index, e) from None


def compare(a: Path, b: Path, listed: int = LISTED) -> ImageChanges:
    """How the images of index b differ from those of index a.

    Args:
      listed: images that are named of each kind.

    Raises:
      NoIndexError: a file cannot be read, or is no index.
    """
    added, removed, relabelled, moved, renamed = groups = [_Group(listed) for _ in range(5)]
    for _, lines in groupby(_unmatched(a, b), lambda pair: pair[0][:SHA256_LENGTH]):
        gone: list[IndexedImage] = []
        new: list[IndexedImage] = []
        for line, is_new in lines:
            (new if is_new else gone).append(_parsed(line, b if is_new else a))
        for before, after in _pairs(gone, new):
            change = _change(before, after)
            if before is None or after is None:
                image = before or after
                assert image is not None
                (removed if after is None else added).add(image.label, change)
                continue
            if before.label != after.label:
                relabelled.add(f"{before.label} → {after.label}", change)
            if before.split != after.split:
                moved.add(f"{before.split} → {after.split}", change)
            # Where folders are classes or splits, the path follows from those.
            if (before.label, before.split) == (after.label, after.split):
                renamed.add(after.label, change)
    done = [g.done() for g in groups]
    return ImageChanges(
        added=done[0], removed=done[1], relabelled=done[2], moved=done[3], renamed=done[4]
    )


@dataclass(slots=True)
class _Group:
    """An ImageGroup while it grows."""

    listed: int
    by: Counter[str] = field(default_factory=Counter)
    first: list[ImageChange] = field(default_factory=list)

    def add(self, kind: str, change: ImageChange) -> None:
        self.by[kind] += 1
        if len(self.first) < self.listed:
            self.first.append(change)

    def done(self) -> ImageGroup:
        by = dict(sorted(self.by.items(), key=lambda pair: (-pair[1], pair[0])))
        return ImageGroup(count=self.by.total(), by=by, first=tuple(self.first))


def _unmatched(a: Path, b: Path) -> Iterator[tuple[bytes, bool]]:
    """The lines that only one of two sorted files has, in order; True: it is b."""
    lines_a, lines_b = _lines(a), _lines(b)
    left, right = next(lines_a, None), next(lines_b, None)
    while left is not None or right is not None:
        if left == right:
            left, right = next(lines_a, None), next(lines_b, None)
        elif right is None or (left is not None and left < right):
            assert left is not None
            yield left, False
            left = next(lines_a, None)
        else:
            yield right, True
            right = next(lines_b, None)


def _lines(index: Path) -> Iterator[bytes]:
    """Lines without their ends; raises NoIndexError where they are not sorted."""
    last = b""
    try:
        with open(index, "rb") as f:
            for line in f:
                line = line.rstrip(b"\n")
                if line < last:
                    raise ValueError("its lines are not sorted")
                yield line
                last = line
    except (OSError, ValueError) as e:
        raise _broken(index, e) from None


def _pairs(
    gone: list[IndexedImage], new: list[IndexedImage]
) -> Iterator[tuple[IndexedImage | None, IndexedImage | None]]:
    """Matches copies of one image: those that keep most of what they were, first."""
    for same in (lambda i: i.path, lambda i: (i.label, i.split), lambda i: i.label, lambda _: None):
        waiting: dict[object, list[IndexedImage]] = {}
        for image in reversed(gone):
            waiting.setdefault(same(image), []).append(image)
        unmatched = []
        for image in new:
            if candidates := waiting.get(same(image)):
                yield candidates.pop(), image
            else:
                unmatched.append(image)
        new = unmatched
        gone = sorted(i for left in waiting.values() for i in left)
    yield from ((image, None) for image in gone)
    yield from ((None, image) for image in new)


def _change(before: IndexedImage | None, after: IndexedImage | None) -> ImageChange:
    image = after or before
    assert image is not None
    return ImageChange(
        sha256=image.sha256,
        path=after.shown_path if after else None,
        path_before=before.shown_path if before else None,
        label=after.label if after else None,
        label_before=before.label if before else None,
        split=after.split if after else None,
        split_before=before.split if before else None,
    )


def _first(mapped: mmap.mmap, key: bytes) -> int:
    """Where the first line begins that is not before `key`; the end if there is none.

    Raises:
      ValueError: a line that it looked at is none of an index.
    """
    low, high = 0, len(mapped)  # both where a line begins, or at the end
    while low < high:
        start = mapped.rfind(b"\n", low, (low + high) // 2) + 1 or low
        digest, tab = mapped[start : start + SHA256_LENGTH], start + SHA256_LENGTH
        if mapped[tab : tab + 1] != b"\t":
            raise ValueError("its lines do not begin with a SHA-256")
        if digest < key:
            end = mapped.find(b"\n", start)
            low = len(mapped) if end < 0 else end + 1
        else:
            high = start
    return low


def _parsed(line: bytes, index: Path) -> IndexedImage:
    try:
        return from_line(line)
    except ValueError as e:
        raise _broken(index, e) from None


def _broken(index: Path, error: Exception) -> NoIndexError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return NoIndexError("unreadable", f"{index} cannot be used as an index of images: {reason}")
