"""The baseline: the model last pushed under a name, whichever framework made it.

TFX's LatestBlessedModelStrategy takes the newest blessed model of the whole
pipeline, also one that was never pushed or belongs to another name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.common import resolver

from components.pusher import MODEL_ID, MODEL_NAME, PUSHED, PUSHED_VERSION
from trainers.artifact import SERVING_FORMAT, ModelCard
from trainers.errors import DataError


class LatestPushedModel(resolver.ResolverStrategy):
    """Resolves `model` to the model last pushed under `name`, or to none.

    The candidate itself is passed over, so that repeating a run resolves the
    same baseline as the first time and stays cached.  A model with other
    classes is no baseline: its accuracy is not comparable.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[Any]]
    ) -> dict[str, list[Any]]:
        (candidate,) = input_dict["candidate"]
        models = {m.id: m for m in input_dict["model"]}
        pushed = [
            p
            for p in input_dict["pushed_model"]
            if p.get_string_custom_property(MODEL_NAME) == self._name
            and p.get_int_custom_property(PUSHED)
        ]
        pushed.sort(key=lambda p: p.get_int_custom_property(PUSHED_VERSION), reverse=True)
        nothing: dict[str, list[Any]] = {key: [] for key in input_dict}
        for push in pushed:
            model = models.get(push.get_int_custom_property(MODEL_ID))
            if model is None or model.id == candidate.id:
                continue
            reason = _incomparable(model, candidate)
            if reason:
                logging.info("No comparison with model %d: %s", model.id, reason)
                return nothing
            return {**nothing, "model": [model]}
        return nothing


def _incomparable(model: Any, candidate: Any) -> str:
    try:
        old, new = (
            set(ModelCard.read(Path(m.uri) / SERVING_FORMAT).class_names)
            for m in (model, candidate)
        )
    except DataError as e:
        return str(e)
    if old == new:
        return ""
    return f"its classes differ: {json.dumps(sorted(old ^ new))}"
