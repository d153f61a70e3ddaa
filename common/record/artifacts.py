"""What is recorded of artifacts, and of contexts of visionline's own.

Artifacts are not annotated after they are published, since TFX's cache keys include their
properties.  So what is said of a model later is a context.
"""

from __future__ import annotations

from typing import Any

from common.record.record import Record, record
from common.record.steps import PushOutcome

IMPORTED = "visionline_imported"
"""Of what `lineage import` wrote: its original times, as JSON."""


@record
class Imported(Record):
    """Any artifact, as TFX writes it."""

    is_external: bool | None = None
    """It was imported from a place of its own, and not made by a pipeline."""


@record
class Examples(Record):
    """The images, as ImageExampleGen wrote them."""

    dataset_digest: str | None = None
    """Of the ingested images, their labels and given splits, whatever they came in."""
    input_fingerprint: str | None = None
    """Of the files that were read."""
    span: int | None = None
    version: int | None = None
    image_count: int | None = None
    class_count: int | None = None
    depth: int | None = None
    """Bits that samples of 16 bits were taken to have."""
    extra_columns: list[str] | None = None
    """Of the manifest or shards."""
    split_names: list[str] | None = None
    """TFX's own, as is the next."""
    payload_format: str | None = None


@record
class Model(Record):
    """The model."""

    framework: str | None = None
    architecture: str | None = None


@record
class Predictions(Record):
    """The scores of one model on the images of a split."""

    model_digest: str | None = None
    """Of the model's files."""


@record
class Blessing(Record):
    """The Evaluator's or the InfraValidator's verdict."""

    blessed: bool | None = None
    current_model_id: int | None = None
    """TFX's own."""
    baseline_model: str | None = None
    """Where the files are that it was compared with."""
    baseline_model_id: int | None = None


@record
class Pushed(PushOutcome):
    """The PushedModel; its file `push.json` says the same."""

    model_id: int | None = None
    """Artifact id of the model."""
    pushed_destination: str | None = None

    @property
    def ref(self) -> str | None:
        """name@version; None where no name is recorded, as by TFX's own Pusher."""
        return None if self.model_name is None else f"{self.model_name}@{self.pushed_version}"


@record
class Pin(Record):
    """A context of type `visionline_pin`, attributed to the model."""

    active: bool | None = None
    """MLMD deletes no contexts: 0 of what is unpinned."""
    who: str | None = None
    when: str | None = None
    """ISO 8601, UTC."""
    reason: str | None = None


@record
class Erasure(Record):
    """A context of type `visionline_erasure`, attributed to what used the images."""

    who: str | None = None
    when: str | None = None
    """ISO 8601, UTC."""
    reason: str | None = None
    sha256: list[str] | None = None
    """Of the images that were withdrawn."""
    models: dict[str, Any] | None = None
    """What each model did with them, by its artifact id."""
    removed: list[int] | None = None
    """Artifact ids of the datasets that were removed for it."""
