"""The classes that a training's config speaks of, held against those of the data.

Whoever comes to know the classes first asks: before ingestion where the source names them,
else the ExampleValidator; and the training itself, which may run without a pipeline.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from common.errors import ConfigError, nearest
from trainers.config import TrainConfig
from trainers.teacher import find_teacher

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededClasses:
    """What the data must have."""

    weights: dict[str, float] = field(default_factory=dict)
    """`train.class_weights`, where it is a table."""
    teacher: tuple[str, ...] = ()
    """All classes of `train.distillation`'s model; none where there is no teacher."""

    @classmethod
    def of(cls, config: TrainConfig) -> NeededClasses:
        """Collects them; raises ConfigError where the teacher cannot be used."""
        table = config.class_weights
        teacher = find_teacher(config.distillation)
        return cls(
            weights=dict(table) if isinstance(table, dict) else {},
            teacher=teacher.card.class_names if teacher else (),
        )

    def check(self, class_names: Collection[str]) -> None:
        """Refuses data without them.

        Args:
          class_names: all classes that have images to train on.

        Raises:
          ConfigError: a weight is for a class that there is not, no class has a weight above 0,
            or the teacher has other classes.
        """
        for name in self.weights:
            if name not in class_names:
                raise ConfigError(
                    f"train.class_weights: no class {name!r} in the data."
                    f"{nearest(name, class_names)}"
                )
        if self.weights and not any(self.weights.get(name, 1.0) for name in class_names):
            raise ConfigError(
                "train.class_weights: expected a weight above 0 for some class of the data, got 0 "
                "for each, with which nothing can be learnt."
            )
        if self.teacher and (others := {*self.teacher} ^ {*class_names}):
            named = ", ".join(map(repr, sorted(others)[:_SHOWN]))
            more = " …" if len(others) > _SHOWN else ""
            raise ConfigError(
                "train.distillation.model: expected a teacher with the classes of the data, got "
                f"one that differs in {named}{more}. Take another teacher, or images of its "
                "classes."
            )


NOTHING_NEEDED = NeededClasses()
