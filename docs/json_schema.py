"""JSON Schema of dataclasses as `common.config.strict.dump` writes them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(
    cls: type, docs: typing.Callable[[type], dict[str, str]], defs: dict[str, Any]
) -> Any:
    """A reference to a dataclass's schema, which is added to `defs`.

    Args:
      docs: the docstrings of a dataclass's fields.
    """
    if cls.__name__ not in defs:
        defs[cls.__name__] = {}  # so that a class may contain itself
        said, hints = docs(cls), get_type_hints(cls)
        properties = {}
        for field in dataclasses.fields(cls):
            found = _schema(hints[field.name], docs, defs)
            if field.name in said:
                found = {**found, "description": said[field.name]}
            properties[field.name] = found
        defs[cls.__name__] = {
            "type": "object",
            "description": " ".join((cls.__doc__ or "").split("\n\n")[0].split()),
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _schema(hint: Any, docs: Any, defs: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return _schema(hint.__value__, docs, defs)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(a, docs, defs) for a in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if dataclasses.is_dataclass(hint):
        found: dict[str, Any] = schema_of(hint, docs, defs)  # type: ignore[arg-type]
        return found
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(args[0], docs, defs)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(args[1], docs, defs)}
    if hint is Any or hint is object:
        return {}
    if hint in (list, tuple):
        return {"type": "array"}
    if hint is dict:
        return {"type": "object"}
    return {"type": PRIMITIVES[hint]}
