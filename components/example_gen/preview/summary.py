"""A look at what a run would read, by the code that reads it then; no Beam, no training."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from common.errors import DataError
from common.images.pixels import open_image
from components.example_gen import spans
from components.example_gen.config import DataConfig, evaluation_split, from_json, to_json
from components.example_gen.preview.suspicious import Suspicion, suspicions
from components.example_gen.preview.thumbnails import Thumbnails
from components.example_gen.reading import BATCH, Reader, note_of
from components.example_gen.records import Note, Notes, Quarantined, Record, Source, batches, show
from components.example_gen.report import Outcome, check_listed, conclude
from components.example_gen.source import list_source

Progress = Callable[[str, int, int], None]
"""Is told what is done, how many of it are, and how many there are; 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """An image that a run would leave out."""

    path: str
    label: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a number is spread over the usable images."""

    min: int
    median: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would read."""

    path: str
    """The data's, its span and version filled in."""
    kind: str
    """What the path was taken for, as data.format names it."""
    understood: str
    """The same for people, with where the splits come from."""
    refused: str | None
    """Why a run would stop at this data; null where it would go on."""
    classes: dict[str, int]
    """Usable images by class; 0 where all are in quarantine."""
    width: Spread | None
    """Of the upright images, in pixels; null where none is usable."""
    height: Spread | None
    bytes: Spread | None
    """Of the image files."""
    originals: dict[str, int]
    """Usable images by format and colour mode of the file, in Pillow's words."""
    quarantine: tuple[Unusable, ...]
    """The images that are left out, by path."""
    suspicious: tuple[Suspicion, ...]
    """What is allowed, and may be a mistake."""
    report: dict[str, Any] | None
    """What report.json will hold; null where no run can make one of this data."""


def preview(
    config: DataConfig,
    *,
    thumbnails: Thumbnails | None = None,
    progress: Progress = lambda what, done, total: None,
) -> tuple[Preview, dict[bytes, str]]:
    """Reads and checks all images as an ingestion would.

    Args:
      thumbnails: is offered every usable image.

    Returns:
      What was found, and the split of each usable image by its path.

    Raises:
      DataError: the data cannot be listed.
    """
    config = from_json(to_json(config))  # as ingestion gets it: the order of the splits counts
    place = spans.resolve(config.path, config.span, config.version)
    source = list_source(config, place.path)
    originals: Counter[str] = Counter()
    notes = Notes()
    for some in _read(source, config, thumbnails, originals, progress):
        notes.read += some.read
        notes.images += some.images
        notes.quarantined += some.quarantined
        notes.extra_columns |= some.extra_columns
        notes.errors += some.errors
    outcome, refused = _conclude(source, config, notes)
    splits = outcome.report["splits"] if outcome else {}
    listed = {r.label for r in source.records} | {q.label for q in notes.quarantined}
    classes = Counter(dict.fromkeys(listed - {""}, 0))
    classes.update(n.label for n in notes.images)
    found = Preview(
        path=place.path,
        kind=source.kind,
        understood=_understood(source.kind, notes, config),
        refused=refused,
        classes=dict(sorted(classes.items())),
        width=_spread(n.width for n in notes.images),
        height=_spread(n.height for n in notes.images),
        bytes=_spread(n.size for n in notes.images),
        originals=dict(originals.most_common()),
        quarantine=_unusable([*source.quarantined, *notes.quarantined]),
        suspicious=tuple(
            suspicions(
                classes,
                {name: split["classes"] for name, split in splits.items()},
                evaluation_split(config),
            )
        ),
        report={**_place(place), **outcome.report} if outcome else None,
    )
    images = chain.from_iterable(outcome.images()) if outcome else ()
    return found, {i.path: i.split for i in images}


def _read(
    source: Source,
    config: DataConfig,
    thumbnails: Thumbnails | None,
    originals: Counter[str],
    progress: Progress,
) -> Iterator[Notes]:
    """Yields notes of all images, and counts formats and modes of those that can be used."""

    def check(record: Record, data: bytes, sha256: str) -> tuple[Note, str]:
        note, image = note_of(record, data, sha256, config.max_pixels, config.depth)
        if thumbnails is not None:
            thumbnails.offer(note.label, note.path, sha256, image.encoded)
        with open_image(data, max_pixels=config.max_pixels) as original:
            return note, f"{original.format} {original.mode}"

    def take(note: Note, original: str) -> None:
        originals[original] += 1
        progress("images", originals.total(), len(source.records))

    reader = Reader(source.base, check)
    try:
        for shard in source.shards:
            yield from reader.shard(shard, source.kind, config.columns, take)
        for batch in batches(() if source.shards else source.records, BATCH):
            yield from reader.files(batch, take)
    finally:
        reader.close()


def _conclude(
    source: Source, config: DataConfig, notes: Notes
) -> tuple[Outcome | None, str | None]:
    """Returns what ingestion would conclude, and why it would refuse to."""
    listed = dataclasses.replace(source, records=(), shards=())
    try:
        check_listed(source, config)
        return conclude(listed, config, [notes]), None
    except DataError as e:
        refused = str(e)
    try:
        lenient = dataclasses.replace(config, max_quarantine_fraction=1.0)
        return conclude(listed, lenient, [notes]), refused
    except DataError:
        return None, refused


def _place(place: spans.Resolved) -> dict[str, Any]:
    return {"path": place.path, "span": place.span, "version": place.version}


def _spread(values: Iterable[int]) -> Spread | None:
    numbers = sorted(values)
    if not numbers:
        return None
    return Spread(min=numbers[0], median=statistics.median_low(numbers), max=numbers[-1])


def _unusable(quarantined: Sequence[Quarantined]) -> tuple[Unusable, ...]:
    return tuple(
        Unusable(path=show(q.path), label=q.label, reason=q.reason, detail=q.detail)
        for q in sorted(quarantined, key=lambda q: q.path)
    )


_KINDS = {
    "folder": "a sub-folder for each class",
    "manifest": "a line for each image",
    "tfrecord": "an example for each image",
    "parquet": "a row for each image",
    "arrow": "a row for each image",
    "webdataset": "tar files with a sample for each image",
    "archive": "image folders, packed",
}


def _understood(kind: str, notes: Notes, config: DataConfig) -> str:
    brought = {n.given_split for n in notes.images}
    given = ", ".join(n for n in config.split_names if n in brought)
    drawn = ", ".join(n for n in config.split_names if n not in brought)
    splits = []
    if given:
        splits.append(f"{given} as given")
    if drawn:
        splits.append(f"{drawn} drawn{' from train' if given else ''} by content")
    return "; ".join([kind, *filter(None, [_KINDS.get(kind)]), ", ".join(splits)])
