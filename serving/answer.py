"""What a model says of a request's images, before a protocol puts it into its own form."""

from __future__ import annotations

from dataclasses import dataclass

from modelstore.tasks import classification, task_of
from modelstore.tasks.contract import Task
from serving.models.engines import Floats
from serving.models.loaded import LoadedVersion

TOP_K = classification.ANSWERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    name: str
    version: int
    class_names: tuple[str, ...]
    scores_NC: Floats
    engine: str
    task: Task
    depth: int
    """As its image files were read, see `ModelCard`."""

    @classmethod
    def of(cls, loaded: LoadedVersion, scores_NC: Floats) -> Answer:
        """Makes an answer of a version's scores."""
        return cls(
            name=loaded.name,
            version=loaded.version,
            class_names=loaded.card.class_names,
            scores_NC=scores_NC,
            engine=loaded.engine,
            task=task_of(loaded.card.config),
            depth=loaded.card.depth,
        )

    def top(self, k: int = TOP_K) -> list[list[tuple[str, float]]]:
        """Returns what is told of each image: the likeliest labels, with their scores."""
        return [self.task.answer(row, self.class_names, k) for row in self.scores_NC.tolist()]
