"""What TFX's cache key of an execution is made of, as far as it is recorded.

The key is a hash of the pipeline's name, the node, its executor, its input artifacts,
its parameters (those its driver sets among them) and TFX's version.  visionline
records the parts (`pipeline.recording.cache_key`).  Without them, the inputs and what looks
like a parameter are what is known.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.record.record import name_of
from common.record.steps import RESULTS, Parameters, Step
from lineage.store.records import Event, Execution

LONGEST = 200
"""Characters of a parameter's value in the parts; a longer one is a digest there."""
_IN_TABLES = {
    name_of(Parameters.config): ("path", "pretrained", "distillation.model"),
    name_of(Parameters.resolved_baseline): ("where", "why"),
}
"""Keys of parameters that are JSON which are not part of the key, since they are places;
of all that lies there a digest is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Artifacts under one key of a node's inputs."""

    ids: tuple[int, ...]
    digests: tuple[str, ...] | None
    """Of each artifact's record in MLMD as it was then; None: not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    key: str | None
    enabled: bool
    """Whether the cache was to be used at all."""
    parameters: Mapping[str, str]
    inputs: Mapping[str, Input]
    executor: str | None = None
    node: str | None = None
    tfx_version: str | None = None
    recorded: bool
    """The parts were recorded, and not put together from what else is known."""


def short(value: str, longest: int) -> str:
    """Returns the value, or a digest of it where it is long."""
    digest = f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value if len(value) <= longest else digest


def without_places(name: str, value: str) -> str:
    """Returns a parameter as it is part of the key."""
    if name not in _IN_TABLES:
        return value
    try:
        table = json.loads(value)
    except ValueError:
        return value
    if not isinstance(table, dict):
        return value
    for key in _IN_TABLES[name]:
        *above, last = key.split(".")
        inner = table
        for part in above:
            inner = inner.get(part) or {}
        inner.pop(last, None)
    return json.dumps(table, sort_keys=True)


def parts_of(execution: Execution, events: Sequence[Event]) -> Parts:
    """Returns the parts of an execution's key; passes over all events but its inputs."""
    ids: dict[str, list[int]] = defaultdict(list)
    for event in sorted(events, key=lambda e: (e.key, e.index, e.artifact_id)):
        if event.execution_id == execution.id and event.kind == "input":
            ids[event.key].append(event.artifact_id)
    recorded = Step.read(execution)
    key = recorded.cache_key
    try:
        if recorded.cache_parts is not None:
            return _recorded(execution, key, recorded.cache_parts)
    except (ValueError, TypeError, AttributeError):
        pass  # somebody else's property of that name
    return Parts(
        key=key,
        enabled=True,
        parameters={
            k: str(v) for k, v in execution.custom.items() if is_parameter(k) and v is not None
        },
        inputs={k: Input(ids=tuple(v), digests=None) for k, v in ids.items()},
        recorded=False,
    )


def _recorded(execution: Execution, key: str | None, parts: dict[str, Any]) -> Parts:
    inputs, parameters = parts.get("inputs", {}), parts.get("parameters", {})
    return Parts(
        key=key,
        enabled=bool(parts.get("enabled", True)),
        parameters={k: _whole(execution, k, str(v)) for k, v in parameters.items()},
        inputs={
            k: Input(ids=tuple(int(i) for i, _ in pairs), digests=tuple(str(d) for _, d in pairs))
            for k, pairs in inputs.items()
        },
        executor=parts.get("executor"),
        node=parts.get("node"),
        tfx_version=parts.get("tfx_version"),
        recorded=True,
    )


def _whole(execution: Execution, name: str, value: str) -> str:
    """Returns a parameter's value, which TFX has recorded under its name unless a result has it."""
    whole = str(execution.get(name))
    forms = (whole, without_places(name, whole))
    return next((form for form in forms if short(form, LONGEST) == value), value)


def is_parameter(name: str) -> bool:
    """Says whether a property is a parameter, and nothing that came of the execution."""
    return name not in RESULTS
