"""Which datasets of a store hold some images: every one is searched, or said not to be.

By the index that ingestion wrote; where there is none (another pipeline's dataset, or
the index is gone), by the records themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.record.artifacts import Examples
from common.record.kinds import EXAMPLES, REPORT
from common.record.record import value_of
from components.example_gen.image_index import IndexedImage
from lineage.images.example_records import RecordsError, find_in_records
from lineage.images.index import NoIndexError, Unsearchable, find, image_count, index_path
from lineage.store.places import local_path
from lineage.store.reader import Reader
from lineage.store.records import Artifact

_TF_EXAMPLE = ("FORMAT_TF_EXAMPLE", "6", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsearched:
    """A dataset that may hold an image that was looked for."""

    artifact_id: int
    uri: str
    index: Unsearchable
    """Why its index could not be searched."""
    records: str
    """Why its records could not be, either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a search came to."""

    images: Mapping[int, tuple[IndexedImage, ...]]
    """By artifact id: of Examples; or of a report whose Examples are not in the store."""
    artifacts: Mapping[int, Artifact]
    """Those that hold any."""
    searched: Mapping[Literal["index", "records"], int]
    """Datasets, by what was read of them."""
    unsearched: tuple[Unsearched, ...]


def search(reader: Reader, wanted: Collection[str]) -> Findings:
    """Looks for images in every dataset that a store knows, as it was ingested.

    Args:
      wanted: SHA-256 of image files, hexadecimal, lower case.
    """
    reports = {r.id: r for r in reader.artifacts_by_type(REPORT)}
    makers = reader.producers(reports)
    by_maker = {maker: reports[id_] for id_, maker in makers.items()}
    images: dict[int, tuple[IndexedImage, ...]] = {}
    artifacts: dict[int, Artifact] = {}
    searched: Counter[Literal["index", "records"]] = Counter()
    unsearched: list[Unsearched] = []
    used: set[int] = set()

    def take(artifact: Artifact, by_digest: Mapping[str, Collection[IndexedImage]]) -> None:
        if by_digest:
            images[artifact.id] = tuple(i for each in by_digest.values() for i in each)
            artifacts[artifact.id] = artifact

    for examples, maker in _ingested(reader):
        report = by_maker.get(maker)
        used |= {report.id} if report else set()
        try:
            take(examples, _by_index(report, wanted, image_count(examples)))
            searched["index"] += 1
            continue
        except NoIndexError as e:
            reason = e.reason
        try:
            take(examples, _by_records(examples, wanted))
            searched["records"] += 1
        except RecordsError as e:
            unsearched.append(
                Unsearched(artifact_id=examples.id, uri=examples.uri, index=reason, records=str(e))
            )
    # Of a dataset whose Examples are not in the store, as after a partial import.
    for report in (r for id_, r in reports.items() if id_ not in used):
        try:
            take(report, _by_index(report, wanted, None))
            searched["index"] += 1
        except NoIndexError as e:
            unsearched.append(
                Unsearched(
                    artifact_id=report.id,
                    uri=report.uri,
                    index=e.reason,
                    records="they are not in the store",
                )
            )
    return Findings(
        images=images, artifacts=artifacts, searched=searched, unsearched=tuple(unsearched)
    )


def _ingested(reader: Reader) -> Iterator[tuple[Artifact, int]]:
    """Examples that were not made of other Examples; with their maker, 0 if not known.

    What was made of something that the store does not know is among them.
    """
    examples = reader.artifacts_by_type(EXAMPLES)
    makers = reader.producers([a.id for a in examples])
    inputs: dict[int, set[int]] = {}
    for event in reader.events(set(makers.values())):
        if event.kind == "input":
            inputs.setdefault(event.execution_id, set()).add(event.artifact_id)
    own = {a.id for a in examples}
    for artifact in examples:
        maker = makers.get(artifact.id, 0)
        if not inputs.get(maker, set()) & own:
            yield artifact, maker


def _by_index(
    report: Artifact | None, wanted: Collection[str], count: int | None
) -> dict[str, list[IndexedImage]]:
    if report is not None and local_path(report.uri) is None:
        raise NoIndexError("elsewhere", f"{report.uri} cannot be seen from here")
    return find(index_path(report), wanted, count)


def _by_records(examples: Artifact, wanted: Collection[str]) -> dict[str, list[IndexedImage]]:
    path = local_path(examples.uri)
    if path is None:
        raise RecordsError("they are not on this machine")
    if examples.state == "DELETED":
        raise RecordsError("they were removed")
    if not Path(path).is_dir():
        raise RecordsError("their files are not there")
    payload = value_of(examples, Examples.payload_format)
    if payload not in _TF_EXAMPLE:
        raise RecordsError(f"they are no tf.Examples but {payload}")
    return find_in_records(Path(path), split_names(examples), image_count(examples), wanted)


def split_names(examples: Artifact) -> list[str]:
    """As the artifact says; none where it does not."""
    return [str(n) for n in value_of(examples, Examples.split_names) or ()]
