"""What a task of a spec takes of the words that the backend hands on: each has a bound."""

from __future__ import annotations

import json
from typing import Any

from common.errors import ConfigError
from pipeline.kubeflow.spec import Spec
from pipeline.kubeflow.words import LONGEST

_FOR_ARTIFACTS = 24 * 1024
"""Of a task's inputs: URIs, and the metadata of artifacts, which no spec says."""
_KEYS = {
    "schema_text": "schema.frozen",
    "evaluate": "evaluate.slices",
    "accepted": "schema.accept",
    "slices": "evaluate.slices",
}
"""Where the longest values come from in a config, by parameter."""


def check_lengths(spec: Spec) -> None:
    """Refuses a spec of which the backend could not start a task.

    It hands the driver each task, component and container of a spec, and a container its
    inputs, as one word of a command.

    Raises:
      ConfigError: one is too long; says which key of the config to change.
    """
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
        inputs = task.get("inputs", {}).get("parameters", {})
        values = {
            k: v["runtimeValue"]["constant"] for k, v in inputs.items() if "runtimeValue" in v
        }
        size = max(
            length(task),
            length(component),
            length(executor["container"]),
            length(values) + _FOR_ARTIFACTS,
        )
        if size > LONGEST:
            longest = max(values, key=lambda k: length(values[k]), default="")
            raise ConfigError(
                f"{_KEYS.get(longest, longest)}: the task {name} would be handed {size} bytes "
                f"in one word, compressed, and Linux takes {LONGEST}. The longest of its values "
                f"is {longest!r} with {length(values.get(longest, ''))} bytes: make it shorter."
            )


def length(value: Any) -> int:
    """Returns the bytes of a value as JSON."""
    return len(json.dumps(value, separators=(",", ":")))
