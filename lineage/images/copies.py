"""Where copies of an image's pixels lie: datasets, arrays, golden images of every version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import DataError
from common.files import read_json, sha256_file
from common.record.artifacts import Pushed
from common.record.kinds import ARRAYS, EXAMPLES, MODEL
from common.record.record import Properties, names_of, value_of
from common.record.steps import Data, Parameters
from components.example_gen.image_index import IndexedImage
from components.example_gen.shards.formats import ARCHIVE, is_named
from lineage.graph.built import Built
from lineage.images.uses import Uses
from lineage.store.places import local_path
from lineage.store.reader import Reader
from lineage.store.records import Artifact
from modelstore.artifact import GOLDEN, MODEL_CARD, SERVING_FORMAT, PushManifest
from modelstore.versions import list_versions

Kind = Literal["source", "examples", "transformed", "arrays", "golden", "report"]
Holds = Literal["pixels", "maybe", "name"]
_DERIVED: Mapping[str, Kind] = {EXAMPLES: "transformed", ARRAYS: "arrays"}
"""What is made of a dataset and holds its pixels, by type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A place where an image that was asked for lies."""

    kind: Kind
    """source: the file that was ingested, or the one that it lay in; examples, transformed:
    records of a dataset; arrays: what trainings read; golden: the images that
    a model's scores are checked with, in its artifact and in every version pushed of it;
    report: what ingestion wrote of it."""
    where: str
    artifact_id: int | None
    """That the place belongs to; None: to none, as those in caches and serving."""
    holds: Holds
    """pixels; maybe: it cannot be told from the outside, such as the few validation
    images in golden.npz; name: its path, class and SHA-256, and no pixels."""
    images: int
    """Of those that were asked for."""


@dataclass(frozen=True, slots=True)
class _Split:
    """A split of a dataset in which images were found."""

    dataset: int
    name: str
    images: tuple[IndexedImage, ...]


def copies(
    reader: Reader,
    built: Built,
    uses: Uses,
    artifacts: Mapping[int, Artifact],
    reports: Mapping[int, Artifact],
    by_dataset: Mapping[int, Collection[IndexedImage]],
) -> tuple[Copy, ...]:
    """The places that are there now, as far as they can be seen from here.

    Args:
      artifacts: the datasets that hold images.
      reports: their ingestion reports.
      by_dataset: the images that copies are looked for of.
    """
    splits = [
        _Split(dataset, name, tuple(i for i in images if i.split == name))
        for dataset, images in sorted(by_dataset.items())
        for name in sorted({i.split for i in images})
    ]
    sources = _sources(reader, artifacts)
    derived = reader.artifacts(
        {a for outputs in built.made.values() for a, type_ in outputs if type_ in _DERIVED}
    )
    of_model = {
        model: [s for s in splits if s.dataset in uses.origins.get(model, ())]
        for model in built.trainers
    }
    return (
        *_in_sources(splits, sources),
        *_in_examples(splits, artifacts, uses, derived),
        *_in_golden(reader, built, of_model),
        *(
            Copy(
                kind="report",
                where=r.uri,
                artifact_id=r.id,
                holds="name",
                images=len(by_dataset[d]),
            )
            for d, r in sorted(reports.items())
            if _is_there(r)
        ),
    )


def _sources(reader: Reader, artifacts: Mapping[int, Artifact]) -> dict[int, str]:
    makers = reader.producers(artifacts)
    executions = reader.executions(set(makers.values()))
    sources = {}
    for dataset, maker in makers.items():
        execution: Properties = executions.get(maker) or {}
        place = value_of(execution, Data.resolved_path)
        sources[dataset] = place or value_of(execution, Parameters.input_base) or ""
    return sources


def _in_sources(splits: Collection[_Split], sources: Mapping[int, str]) -> Iterator[Copy]:
    files: set[Path] = set()
    shards: dict[Path, set[str]] = {}
    for split in splits:
        base = sources.get(split.dataset, "")
        for image in split.images if base else ():
            name = Path(image.path.decode("utf-8", "surrogateescape"))
            for shard in _shards(Path(base), name):
                shards.setdefault(shard, set()).add(image.sha256)
            path = (Path(base).parent if Path(base).is_file() else Path(base)) / name
            if path in files or not path.is_file():
                continue
            files.add(path)
            try:
                same = sha256_file(path) == image.sha256
            except OSError:
                same = True  # it is there, and cannot be read from here
            if same:
                yield Copy(
                    kind="source", where=str(path), artifact_id=None, holds="pixels", images=1
                )
    for shard, images in sorted(shards.items()):
        yield Copy(
            kind="source", where=str(shard), artifact_id=None, holds="maybe", images=len(images)
        )


def _shards(source: Path, image: Path) -> Iterator[Path]:
    """Yields the files of many images that one may have come from: shards, or archives."""
    shard, mark, _ = str(image).partition("#")
    folder = source.parent if source.is_file() else source
    if mark and (folder / shard).is_file():
        yield folder / shard
    elif source.is_file():
        yield from [source] if is_named(source.name, ARCHIVE) else []
    elif source.is_dir() and not (source / image).is_file():
        yield from (f for f in source.iterdir() if is_named(f.name, ARCHIVE))


def _in_examples(
    splits: Collection[_Split],
    datasets: Mapping[int, Artifact],
    uses: Uses,
    derived: Mapping[int, Artifact],
) -> Iterator[Copy]:
    for split in splits:
        if split.dataset in datasets:
            yield from _of_split("examples", datasets[split.dataset], split)
    for artifact in sorted(derived.values(), key=lambda a: a.id):
        for split in splits:
            if split.dataset in uses.origins.get(artifact.id, ()) and artifact.id not in datasets:
                yield from _of_split(_DERIVED[artifact.type], artifact, split)


def _of_split(kind: Kind, artifact: Artifact, split: _Split) -> Iterator[Copy]:
    if artifact.type not in _DERIVED or not _is_there(artifact):
        return
    path = local_path(artifact.uri)
    folder = f"{artifact.uri}/Split-{split.name}"
    exact = path is not None and Path(f"{path}/Split-{split.name}").is_dir()
    if artifact.type == ARRAYS and path is not None and not exact:
        return  # no training reads that split
    yield Copy(
        kind=kind,
        where=folder if exact else artifact.uri,
        artifact_id=artifact.id,
        holds="pixels" if exact else "maybe",
        images=len(split.images),
    )


def _in_golden(
    reader: Reader, built: Built, of_model: Mapping[int, list[_Split]]
) -> Iterator[Copy]:
    """Of models of before there were drawn ones, or told to take real ones."""
    held = {
        model: sum(len(s.images) for s in splits if s.name == "val")
        for model, splits in of_model.items()
    }
    models = reader.artifacts([m for m, count in held.items() if count])
    by_uri = {m.uri: m.id for m in models.values() if m.type == MODEL}
    for artifact in sorted(models.values(), key=lambda a: a.id):
        path = local_path(artifact.uri)
        if path is None:
            continue
        if (place := _real_golden(Path(path) / SERVING_FORMAT)) is not None:
            yield _golden(place, artifact.id, held[artifact.id])
    values = reader.values("Artifact", built.pushes, names_of(Pushed.pushed_destination))
    places = (value_of(v, Pushed.pushed_destination) or "" for v in values.values())
    for folder in sorted({f for p in places if "://" not in (f := p.rpartition("/")[0])}):
        for version in list_versions(Path(folder)):
            directory = Path(folder) / str(version)
            model = by_uri.get(served_model(reader, directory) or "")
            if model is not None and (place := _real_golden(directory)) is not None:
                yield _golden(place, None, held[model])


def _golden(place: Path, artifact_id: int | None, images: int) -> Copy:
    return Copy(
        kind="golden", where=str(place), artifact_id=artifact_id, holds="maybe", images=images
    )


def served_model(reader: Reader, directory: Path) -> str | None:
    """The URI, as it is now, of the model that a served version holds; None: not known.

    By its manifest: a rollback may have copied it without a record.
    """
    try:
        return reader.places.here(PushManifest.read(directory).model_uri)
    except DataError:
        return None


def _real_golden(directory: Path) -> Path | None:
    place = directory / GOLDEN
    if not place.is_file():
        return None
    try:
        card = read_json(directory / MODEL_CARD)
    except (OSError, ValueError):
        return place
    return None if card.get("golden") == "drawn" else place


def _is_there(artifact: Artifact) -> bool:
    path = local_path(artifact.uri)
    return artifact.state != "DELETED" and (path is None or Path(path).exists())
