"""The file that `lineage export --format json` writes and `lineage import` reads.

JSON lines in UTF-8, so that a store of any size is written and read as a stream:

    {"format": "visionline.lineage.export/1", "mlmd_schema_version": 10, …}
    {"type": {…}} {"context": {…}} {"artifact": {…}} {"execution": {…}} {"event": {…}}
    {"association": [context, execution]} {"attribution": [context, artifact]}
    {"parent": [child context, parent context]}
    {"end": {"type": 12, "context": 40, …}}        how many of each

one record a line and in this order, ids increasing.  docs/lineage-export.md has every field.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import ExportError
from common.record.artifacts import Blessing, Pushed
from common.record.record import names_of
from lineage.store.reader import SCHEMA_VERSION
from lineage.store.records import ARTIFACT_STATES, EXECUTION_STATES

FORMAT = "visionline.lineage.export/1"
KINDS = ("artifact", "execution", "context")
TYPE_KINDS = ("execution", "artifact", "context")
"""By the number that MLMD gives to what a type is of."""
BASES = {
    "artifact": ("mlmd.Dataset", "mlmd.Model", "mlmd.Metrics", "mlmd.Statistics"),
    "execution": ("mlmd.Train", "mlmd.Transform", "mlmd.Process", "mlmd.Evaluate", "mlmd.Deploy"),
    "context": (),
}
"""MLMD's own types, which others may be based on."""
RECORDS = (
    *("type", "context", "artifact", "execution", "event"),
    *("association", "attribution", "parent"),
)
"""In the order of the file."""
PROPERTY_TYPES = ("UNKNOWN", "INT", "DOUBLE", "STRING", "STRUCT", "PROTO", "BOOLEAN")
EVENT_TYPES = (
    *("UNKNOWN", "DECLARED_OUTPUT", "DECLARED_INPUT", "INPUT", "OUTPUT"),
    *("INTERNAL_INPUT", "INTERNAL_OUTPUT", "PENDING_OUTPUT"),
)
"""MLMD's enums, by number."""
REFERENCES = names_of(Pushed.model_id, Blessing.current_model_id, Blessing.baseline_model_id)
"""Properties of artifacts whose value is the id of an artifact."""

Record = dict[str, Any]
_LONGEST_LINE = 256 * 2**20
_INT64 = range(-(2**63), 2**63)


def line(record: Record) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields the records of a file that `check` has passed, by kind."""
    return ((kind, value) for _, kind, value in _lines(path) if kind in RECORDS)


def check(path: Path) -> dict[int, Record]:
    """Reads a whole file, refuses it if something could not be imported; returns its types by id.

    Raises:
      ExportError: the first thing that is wrong, and in which line.
    """
    types: dict[int, Record] = {}
    counts: Counter[str] = Counter()
    ids: dict[str, set[int]] = {kind: set() for kind in KINDS}
    number, ended = 0, False
    for number, kind, value in _lines(path):
        try:
            if number == 1:
                _check_header(value)
            elif ended:
                raise ExportError("there is more after the end")
            elif kind == "end":
                ended = True
                if value != dict(counts):
                    raise ExportError(
                        f"the file says that it holds {value}, but {dict(counts)} "
                        "were found; lines are missing or doubled"
                    )
            else:
                _check_record(kind, value, types, ids)
                counts[kind] += 1
        except ExportError as e:
            raise ExportError(f"{path}, line {number}: {e}. Nothing was imported.") from None
    if not number:
        raise ExportError(f"{path} is empty; expected a file of `visionline lineage export`.")
    if not ended:
        raise ExportError(
            f"{path} is cut short: its last line, which counts the others, is missing. "
            "Nothing was imported. Export it again."
        )
    return types


def _lines(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Yields line number, kind and value; the header's kind is "format"."""
    try:
        with open(path, "rb") as f:
            number = 0
            while data := f.readline(_LONGEST_LINE if number else 2**16):
                number += 1
                yield number, *_parsed(path, number, data)
    except OSError as e:
        raise ExportError(f"Cannot read {path}: {e.strerror}.") from None


def _parsed(path: Path, number: int, data: bytes) -> tuple[str, Any]:
    foreign = f"{path} is not a lineage export; expected a file of `visionline lineage export`."
    try:
        record = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        if number == 1:
            raise ExportError(foreign) from None
        cut = "" if data.endswith(b"\n") else " (cut short?)"
        raise ExportError(f"{path}, line {number}: not JSON{cut}. Nothing was imported.") from None
    if number == 1:
        if not isinstance(record, dict) or "format" not in record:
            raise ExportError(foreign)
        return "format", record
    if not isinstance(record, dict) or len(record) != 1:
        raise ExportError(f"{path}, line {number}: expected one record. Nothing was imported.")
    return next(iter(record.items()))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _check_header(header: Record) -> None:
    if header["format"] != FORMAT:
        raise ExportError(
            f"the format is {header['format']!r}, and this visionline reads {FORMAT!r}"
        )
    version = header.get("mlmd_schema_version")
    if version != SCHEMA_VERSION:
        raise ExportError(
            f"it was made of a store with schema version {version!r} of ML Metadata; "
            f"expected {SCHEMA_VERSION}"
        )


def _check_record(
    kind: str, value: Any, types: dict[int, Record], ids: Mapping[str, set[int]]
) -> None:
    _need(kind in RECORDS, f"unknown kind of record {kind!r}")
    if kind == "type":
        _fields(value, _TYPE)
        _need(value["id"] not in types, f"type {value['id']} is there twice")
        base = value["base"]
        _need(base is None or base in BASES[value["kind"]], f"unknown base type {_short(base)}")
        types[value["id"]] = value
    elif kind in KINDS:
        _check_node(kind, value, types)
        _need(value["id"] not in ids[kind], f"{kind} {value['id']} is there twice")
        ids[kind].add(value["id"])
    elif kind == "event":
        _fields(value, _EVENT)
        _exists(ids, "execution", value["execution"])
        _exists(ids, "artifact", value["artifact"])
    else:
        right = {"association": "execution", "attribution": "artifact", "parent": "context"}[kind]
        _need(
            isinstance(value, list) and len(value) == 2 and all(map(_is_id, value)),
            f"{kind}: expected two ids, got {_short(value)}",
        )
        _exists(ids, "context", value[0])
        _exists(ids, right, value[1])


def _check_node(kind: str, value: Any, types: Mapping[int, Record]) -> None:
    _fields(value, _NODES[kind])
    type_ = types.get(value["type"])
    where = f"{kind} {value['id']}"
    if type_ is None or type_["kind"] != kind:
        raise ExportError(f"{where} has the type {value['type']}, which is no {kind} type here")
    _need(kind != "context" or bool(value["name"]), f"{where} has no name")
    for name, property_ in value["properties"].items():
        declared = type_["properties"].get(name)
        got = next(iter(property_)).upper().replace("BOOL", "BOOLEAN")
        _need(
            declared == got,
            f"{where}: its type declares {name!r} as {declared or 'nothing'}, and it is {got}",
        )


def _fields(value: Any, expected: Mapping[str, Callable[[Any], bool]]) -> None:
    _need(isinstance(value, dict), f"expected an object, got {_short(value)}")
    for key in value.keys() - expected.keys():
        raise ExportError(f"unknown field {key!r}")
    for key, fits in expected.items():
        _need(key in value, f"the field {key!r} is missing")
        _need(fits(value[key]), f"{key!r} cannot be {_short(value[key])}")


def _exists(ids: Mapping[str, set[int]], kind: str, id_: int) -> None:
    _need(id_ in ids[kind], f"{kind} {id_} is not in the file")


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ExportError(otherwise)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _is_id(value: Any) -> bool:
    return _is_int(value) and value > 0


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and "\0" not in value and bool(value.encode() or True)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _is_name(value: Any) -> bool:
    return value is None or _is_key(value)


def _is_key(value: Any) -> bool:
    return _is_text(value) and 0 < len(value) <= 255


def _is_struct(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_text(k) and _is_struct(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_struct, value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) < 1e308 and math.isfinite(value)
    return value is None or isinstance(value, bool) or _is_text(value)


def _is_base64(value: Any) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return False
    return isinstance(value, str)


_FITS: dict[str, Callable[[Any], bool]] = {
    "int": _is_int,
    "double": lambda v: isinstance(v, float) and math.isfinite(v),
    "string": _is_text,
    "struct": lambda v: _is_struct(v) if isinstance(v, dict) else _is_base64(v),
    "proto": _is_base64,
    "bool": lambda v: isinstance(v, bool),
}


def _are_properties(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_key(name)
        and isinstance(v, dict)
        and len(v) == 1
        and all(k in _FITS and _FITS[k](x) for k, x in v.items())
        for name, v in value.items()
    )


_TYPE: dict[str, Callable[[Any], bool]] = {
    "id": _is_id,
    "kind": lambda v: v in KINDS,
    "name": _is_key,
    "version": _is_name,
    "description": lambda v: v is None or _is_text(v),
    "external_id": _is_name,
    "base": _is_name,
    "input": lambda v: v is None or isinstance(v, dict),
    "output": lambda v: v is None or isinstance(v, dict),
    "properties": lambda v: (
        isinstance(v, dict) and all(_is_key(k) and x in PROPERTY_TYPES for k, x in v.items())
    ),
}
_NODE: dict[str, Callable[[Any], bool]] = {
    "id": _is_id,
    "type": _is_id,
    "name": _is_name,
    "external_id": _is_name,
    "created": _is_int,
    "updated": _is_int,
    "properties": _are_properties,
    "custom": _are_properties,
}
_NODES: dict[str, dict[str, Callable[[Any], bool]]] = {
    "context": _NODE,
    "artifact": {**_NODE, "uri": _is_text, "state": lambda v: v in ARTIFACT_STATES},
    "execution": {**_NODE, "state": lambda v: v in EXECUTION_STATES},
}
_EVENT: dict[str, Callable[[Any], bool]] = {
    "execution": _is_id,
    "artifact": _is_id,
    "type": lambda v: v in EVENT_TYPES[1:],
    "time": lambda v: v is None or _is_int(v),
    "path": lambda v: (
        isinstance(v, list) and all(_is_text(s) or (_is_int(s) and abs(s) < 2**63) for s in v)
    ),
}
