"""What a model did with an image of its data: trained on it, was selected or judged by it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from common.record.kinds import EXAMPLES, MODEL
from common.record.record import value_of
from common.record.steps import Parameters
from lineage.graph.built import VERDICTS, Built
from lineage.graph.producers import BASELINE
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Execution

Use = Literal["trained", "selected", "unknown", "judged", "unused"]
"""trained: on it, or on weights that were; selected: the weights that were kept are those
of the epoch that was best on it and its like; unknown: it was given to a training that
does not say what for; judged: by it, and only judged; unused: in its data, and no more."""
USES: tuple[Use, ...] = ("trained", "selected", "unknown", "judged", "unused")
"""The strongest first."""
_OURS = "components.trainer.component.Trainer"
_TRANSFORM = ".Transform"


class Uses:
    """The uses that models made of datasets, by split.

    Args:
      built: on the datasets; models that were only judged by them are added to it.
      datasets: ids of Examples.
    """

    def __init__(self, reader: Reader, built: Built, datasets: Collection[int]) -> None:
        self._judges = _judges(reader, built, datasets)
        built.add_models(reader, {m for m, _ in self._judges} - built.trainers.keys())
        self.origins = built.origins(datasets)
        self._built = built
        self._datasets = datasets
        self._trainers = reader.executions(set(built.trainers.values()))
        taken = set[int]().union(*(built.inputs.get(e, ()) for e in self._trainers))
        self._inputs = reader.artifacts(taken)
        makers = reader.producers([a.id for a in self._inputs.values() if a.type == EXAMPLES])
        kinds = reader.executions(set(makers.values()))
        self._makers = {a: kinds[e].type for a, e in makers.items() if e in kinds}

    def of(self, model_id: int, places: Iterable[tuple[int, str]]) -> Use | None:
        """What a model did with an image; None: nothing, it is not in its data.

        Args:
          places: dataset and split of each copy of the image.
        """
        uses = {use for d, split in places for use in self._of(model_id, d, split)}
        return next((use for use in USES if use in uses), None)

    def _of(self, model_id: int, dataset: int, split: str) -> set[Use]:
        uses: set[Use] = set()
        if any(s is None or split in s for s in self._judges.get((model_id, dataset), ())):
            uses.add("judged")
        if dataset not in self.origins.get(model_id, ()):
            return uses
        uses.add("unused")
        execution = self._built.trainers[model_id]
        trainer = self._trainers.get(execution)
        taken = self._built.inputs.get(execution, ())
        for artifact in (self._inputs[i] for i in sorted(taken) if i in self._inputs):
            if dataset not in self.origins.get(artifact.id, ()):
                continue
            if artifact.type == MODEL:  # it began with its weights
                uses |= self._of(artifact.id, dataset, split) - {"judged", "unused"}
            elif artifact.type == EXAMPLES and trainer is not None:
                uses.add(self._trained(trainer, artifact, split))
        return uses

    def _trained(self, trainer: Execution, examples: Artifact, split: str) -> Use:
        if trainer.type == _OURS:
            return {"train": "trained", "val": "selected"}.get(split, "unused")  # type: ignore[return-value]
        is_raw = examples.id in self._datasets
        if not is_raw and not self._makers.get(examples.id, "").endswith(_TRANSFORM):
            return "unknown"  # the splits may be others now
        if not trainer.type.endswith(".Trainer"):
            return "unknown"
        if split in _splits(value_of(trainer, Parameters.train_args), ["train"]):
            return "trained"
        # What a training does with them is in its own code.
        looked_at = _splits(value_of(trainer, Parameters.eval_args), ["eval"])
        return "unknown" if split in looked_at else "unused"


def _judges(
    reader: Reader, built: Built, datasets: Collection[int]
) -> dict[tuple[int, int], list[frozenset[str] | None]]:
    """The splits that a model was judged by (None: all), by model and dataset."""
    ids = {
        e
        for e, taken in built.inputs.items()
        if taken & set(datasets) and any(t in VERDICTS for _, t in built.made.get(e, ()))
    }
    executions = reader.executions(ids)
    inputs = [e for e in reader.events(ids) if e.kind == "input" and e.key not in BASELINE]
    types = {a.id: a.type for a in reader.artifacts({e.artifact_id for e in inputs}).values()}
    models: dict[int, set[int]] = {}
    for event in inputs:
        if types.get(event.artifact_id) == MODEL:
            models.setdefault(event.execution_id, set()).add(event.artifact_id)
    judges: dict[tuple[int, int], list[frozenset[str] | None]] = {}
    for execution_id, judged in models.items():
        splits = value_of(executions[execution_id], Parameters.example_splits)
        for dataset in built.inputs[execution_id] & set(datasets):
            for model_id in judged:
                of = frozenset(map(str, splits)) if splits else None
                judges.setdefault((model_id, dataset), []).append(of)
    return judges


def _splits(arguments: Mapping[str, Any] | None, default: list[str]) -> list[str]:
    """Of a Trainer's arguments, as TFX records them."""
    splits = (arguments or {}).get("splits")
    return [str(s) for s in splits] if isinstance(splits, list) and splits else default
