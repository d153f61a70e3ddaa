"""What a model says of a request's images, before a protocol puts it into its own form."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nlargest

from serving.models.engines import Floats
from serving.models.loaded import LoadedVersion

TOP_K = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    name: str
    version: int
    class_names: tuple[str, ...]
    scores_NC: Floats
    engine: str

    @classmethod
    def of(cls, loaded: LoadedVersion, scores_NC: Floats) -> Answer:
        """Makes an answer of a version's scores."""
        return cls(
            name=loaded.name,
            version=loaded.version,
            class_names=loaded.card.class_names,
            scores_NC=scores_NC,
            engine=loaded.loading.engine,
        )

    def top(self, k: int = TOP_K) -> list[list[tuple[str, float]]]:
        """The likeliest classes of each image, with their probabilities."""
        # Not by NumPy: it lets go of the interpreter while it sorts, and the event loop
        # would wait for the batcher to get it back.
        return [
            [(self.class_names[i], row[i]) for i in nlargest(k, range(len(row)), row.__getitem__)]
            for row in self.scores_NC.tolist()
        ]
