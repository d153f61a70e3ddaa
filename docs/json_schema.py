"""JSON Schema of dataclasses as `common.config.strict.dump` writes them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(
    cls: type,
    docs: typing.Callable[[type], dict[str, str]],
    defs: dict[str, Any],
    complete: bool = True,
) -> Any:
    """A reference to a dataclass's schema, which is added to `defs`.

    Args:
      docs: the docstrings of a dataclass's fields.
      complete: whether every key is there, as in what is dumped.
    """
    if cls.__name__ not in defs:
        defs[cls.__name__] = {}  # so that a class may contain itself
        said, hints = docs(cls), get_type_hints(cls, include_extras=True)
        properties = {}
        for field in dataclasses.fields(cls):
            found = _schema(hints[field.name], docs, defs, complete)
            if field.name in said:
                found = {**found, "description": said[field.name]}
            properties[field.name] = found
        defs[cls.__name__] = {
            "type": "object",
            "description": " ".join((cls.__doc__ or "").split("\n\n")[0].split()),
            "properties": properties,
            **({"required": sorted(properties)} if complete else {}),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _schema(hint: Any, docs: Any, defs: dict[str, Any], complete: bool) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return _schema(hint.__value__, docs, defs, complete)
    if origin is Annotated:
        found = _schema(args[0], docs, defs, complete)
        for rule in args[1:]:
            found = {**found, **rule.schema}
        return found
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(a, docs, defs, complete) for a in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if dataclasses.is_dataclass(hint):
        reference: dict[str, Any] = schema_of(hint, docs, defs, complete)  # type: ignore[arg-type]
        return reference
    if origin is tuple and args[-1] is not ...:
        parts = [_schema(a, docs, defs, complete) for a in args]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "items": False}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(args[0], docs, defs, complete)}
    if origin in (dict, Mapping):
        names = {}
        if get_origin(args[0]) is Annotated:
            names = {"propertyNames": _schema(args[0], docs, defs, complete)}
        values = _schema(args[1], docs, defs, complete)
        return {"type": "object", **names, "additionalProperties": values}
    if hint is Any or hint is object:
        return {}
    if hint in (list, tuple):
        return {"type": "array"}
    if hint is dict:
        return {"type": "object"}
    return {"type": PRIMITIVES[hint]}
