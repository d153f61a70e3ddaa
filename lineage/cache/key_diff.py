"""How two cache keys differ, and how that reads."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.formats import short
from common.record.record import name_of
from common.record.steps import Data, Parameters
from lineage.cache.key_parts import Parts

Kind = Literal["parameter", "input", "record", "executor", "node", "tfx_version"]
_VALIDATOR = "components.example_validator.ExampleValidator"
_CONFIG_TABLES = {
    ("components.trainer.component.Trainer", "config"): "train",
    ("components.example_gen.component.ImageExampleGen", "config"): "data",
    (_VALIDATOR, "accepted"): "schema.accept",
    ("components.transform.component.Transform", name_of(Parameters.custom_config)): "transform",
    ("components.array_gen.component.ArrayGen", "image_size"): "transform.image_size",
    (_VALIDATOR, "max_conflicting_fraction"): "schema.max_conflicting_fraction",
}
"""Parameters that are a part of the pipeline's config, by component's type."""
_MEANINGS = {
    name_of(Data.input_fingerprint): "the data changed: its digest",
    name_of(Parameters.code_digest): "the code changed: its digest",
    "transform.code_digest": "the code changed: its digest",
}
_LONGEST = 60
"""Characters of a value in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    kind: Kind
    key: str
    """The parameter, dotted where it is a table; the input's key."""
    before: str | None
    """None: it was not there.  Of inputs: artifact ids, separated by commas."""
    after: str | None


def differences(before: Parts, after: Parts, component_type: str = "") -> list[Difference]:
    """Returns what changed; nothing where all that is recorded is the same."""
    # A driver's parameters may be recorded for one and not for the other.
    whole = before.recorded and after.recorded
    join = operator.or_ if whole else operator.and_
    changes: list[Difference] = []
    for name in sorted(join(before.parameters.keys(), after.parameters.keys())):
        config_key = _CONFIG_TABLES.get((component_type, name), name)
        changes += _parameter(config_key, before.parameters.get(name), after.parameters.get(name))
    for key in sorted(before.inputs.keys() | after.inputs.keys()):
        a, b = before.inputs.get(key), after.inputs.get(key)
        # An optional input that has nothing is there, and is empty.
        ids = [",".join(map(str, i.ids)) if i and i.ids else None for i in (a, b)]
        if ids[0] != ids[1]:
            changes.append(Difference(kind="input", key=key, before=ids[0], after=ids[1]))
        elif a and b and a.digests and b.digests and a.digests != b.digests:
            changes.append(Difference(kind="record", key=key, before=ids[0], after=ids[1]))
    of_code: tuple[Kind, ...] = ("executor", "node", "tfx_version")
    for kind in of_code if whole else ():
        old, new = getattr(before, kind), getattr(after, kind)
        if old != new:
            changes.append(Difference(kind=kind, key=kind, before=old, after=new))
    return changes


def sentence(difference: Difference) -> str:
    """Returns a difference as a clause, without the component's name."""
    before, after, key = _brief(difference.before), _brief(difference.after), difference.key
    if difference.kind == "input":
        if difference.before is None:
            return f"its input {key} is new: artifact {after}"
        if difference.after is None:
            return f"its input {key} is no longer there: it was artifact {before}"
        return f"its input {key} changed from artifact {before} to {after}"
    if difference.kind == "record":
        return (
            f"the record of its input {key} (artifact {after}) was changed in ML Metadata after "
            "it was made, and TFX's keys include it"
        )
    if difference.kind == "executor":
        return f"its executor changed from {before} to {after}"
    if difference.kind == "node":
        return "its definition in the pipeline changed: its type, inputs, outputs or parameters"
    if difference.kind == "tfx_version":
        return f"TFX changed from {before} to {after}"
    if key in _MEANINGS and None not in (difference.before, difference.after):
        return f"{_MEANINGS[key]} was {before} and is {after}"
    if difference.before is None:
        return f"{key} was not set and is {after}"
    if difference.after is None:
        return f"{key} was {before} and is no longer set"
    return f"{key} changed from {before} to {after}"


def _parameter(name: str, before: str | None, after: str | None) -> list[Difference]:
    if before == after:
        return []
    inside = _inside(name, _parsed(before), _parsed(after))
    # Text that differs only in how it is written has no differences inside.
    return inside or [Difference(kind="parameter", key=name, before=before, after=after)]


def _inside(name: str, before: Any, after: Any) -> list[Difference]:
    """Returns the smallest parts of JSON values that differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted(before.keys() | after.keys())
        parts = [(f"{name}.{k}", before.get(k), after.get(k)) for k in keys]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        parts = [(f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(before, after, strict=True))]
    elif before == after:
        return []
    else:
        return [
            Difference(kind="parameter", key=name, before=_written(before), after=_written(after))
        ]
    return [d for part in parts for d in _inside(*part)]


def _parsed(text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _brief(value: str | None) -> str:
    if value is None:
        return "nothing"
    digest = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", value)
    if digest:
        return short(digest[1])
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
