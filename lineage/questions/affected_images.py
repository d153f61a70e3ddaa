"""`lineage affected --image`: what some images were used for, and where copies of them lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from common.record.kinds import EXAMPLES
from lineage.graph.built import Built, weights_of, without_data
from lineage.images.copies import Copy, copies
from lineage.images.index import reports_of
from lineage.images.searching import Findings, Unsearched, search
from lineage.images.uses import Use, Uses
from lineage.questions import affected
from lineage.store.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """How an image came into a dataset."""

    artifact_id: int
    """Of the dataset."""
    path: str
    """As listed then: relative to the source."""
    label: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """What one model did with an image."""

    model_id: int
    use: Use


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedImage:
    """One image that was asked for."""

    sha256: str
    asked: str | None
    """The file that was asked about; None: it was asked about by its SHA-256."""
    state: Literal["found", "nowhere", "cannot tell"]
    """Of the datasets; cannot tell: not found, and not all of them could be searched."""
    ingested: tuple[Ingested, ...]
    """Once for each of its copies."""
    uses: tuple[ImageUse, ...]
    """By every model that is told of, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedImages(affected.Affected):
    """What some images were used for."""

    images: tuple[AffectedImage, ...]
    """In the order they were asked for."""
    searched: Mapping[Literal["index", "records"], int]
    """Datasets that were searched, by what was read of them."""
    unsearched: tuple[Unsearched, ...]
    """Datasets that may hold any of the images all the same."""
    copies: tuple[Copy, ...]

    @property
    def cannot_tell(self) -> bool:
        """Whether no model was found, and one may have used an image all the same."""
        orphans = any(d.type != EXAMPLES for d in self.data)
        unknown = bool(self.unsearched or self.unknown_models or orphans)
        return not self.model_count and unknown


def affected_by_images(
    reader: Reader, asked: Mapping[str, str | None], limit: int | None = None
) -> AffectedImages:
    """What images were used for, whatever their names were.

    Args:
      asked: SHA-256 of image files, hexadecimal, lower case; with the file that each is of.
      limit: see `affected.affected_by`.
    """
    findings = search(reader, asked)
    datasets = {i: a for i, a in findings.artifacts.items() if a.type == EXAMPLES}
    # The others are reports of datasets that are not in the store.
    orphans = {i: a for i, a in findings.artifacts.items() if i not in datasets}
    weights = weights_of(reader)
    built = Built.on(reader, datasets, weights)
    uses = Uses(reader, built, datasets)
    reports = reports_of(reader, datasets) | orphans
    images = _images(asked, findings)
    places = {i.sha256: [(p.artifact_id, p.split) for p in i.ingested] for i in images}
    by_model = {
        model: {sha: use for sha, at in places.items() if (use := uses.of(model, at)) is not None}
        for model in sorted(built.trainers, reverse=True)
    }
    models = [m for m, used in by_model.items() if used]
    built_on = affected.facts_of(reader, built, models, limit)
    listed = {m.artifact_id for m in built_on.models} | {v.model_id for v in built_on.versions}
    return AffectedImages(
        data=affected.data_facts_of(reader, findings.artifacts.values()),
        models=built_on.models,
        model_count=built_on.model_count,
        versions=built_on.versions,
        version_count=built_on.version_count,
        unknown_models=without_data(reader),
        foreign_weights=dict(weights.foreign),
        images=tuple(
            replace(
                i,
                uses=tuple(
                    ImageUse(model_id=m, use=by_model[m][i.sha256])
                    for m in models
                    if m in listed and i.sha256 in by_model[m]
                ),
            )
            for i in images
        ),
        searched=dict(findings.searched),
        unsearched=findings.unsearched,
        copies=copies(reader, built, uses, datasets, reports, findings.images),
    )


def _images(asked: Mapping[str, str | None], findings: Findings) -> list[AffectedImage]:
    """Without their uses."""
    ingested: dict[str, list[Ingested]] = {sha256: [] for sha256 in asked}
    for artifact_id, images in findings.images.items():
        for image in images:
            place = {"path": image.shown_path, "label": image.label, "split": image.split}
            ingested[image.sha256].append(Ingested(artifact_id=artifact_id, **place))
    missing: Literal["nowhere", "cannot tell"] = "cannot tell" if findings.unsearched else "nowhere"
    return [
        AffectedImage(
            sha256=sha256,
            asked=path,
            state="found" if ingested[sha256] else missing,
            ingested=tuple(ingested[sha256]),
            uses=(),
        )
        for sha256, path in asked.items()
    ]
