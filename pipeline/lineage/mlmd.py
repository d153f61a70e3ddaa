"""MLMD's own library, opened so that it can be trusted with any text.

On PostgreSQL its text with a backslash leaves the quotes of the statement it is put
into: an error at best, a command of its own at worst.  So none reaches it: a character
for private use stands in the tables for the backslash, and `postgresql.py` reads it as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ml_metadata
from google.protobuf.descriptor import FieldDescriptor
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.lineage.backends.backslash import STAND_IN, hide, restore
from pipeline.lineage.connection import Connection

_OPAQUE = ("google.protobuf.Struct", "google.protobuf.Any")
"""MLMD writes these as Base64."""


class Store(MetadataStore):  # type: ignore[misc]
    """MLMD's MetadataStore, on PostgreSQL without its trouble with backslashes."""

    def _call(
        self, method_name: str, request: Any, response: Any, extra_options: Any = None
    ) -> None:
        if not self._config.HasField("postgresql"):
            super()._call(method_name, request, response, extra_options)
            return
        if b"\\" in request.SerializeToString():
            _rewrite(request, hide)
        super()._call(method_name, request, response, extra_options)
        if STAND_IN.encode() in response.SerializeToString():
            _rewrite(response, restore)


def open_mlmd(connection: Connection, *, readonly: bool = False) -> Store:
    """Opens a store with MLMD, which makes tables where there are none.

    Raises:
      RuntimeError: it cannot.
    """
    return Store(connection.mlmd_config(readonly=readonly))


@contextmanager
def mended() -> Iterator[None]:
    """While it lasts, TFX opens its stores as `Store`s."""
    original = ml_metadata.MetadataStore
    ml_metadata.MetadataStore = Store
    try:
        yield
    finally:
        ml_metadata.MetadataStore = original


def _rewrite(message: Any, change: Callable[[str], str]) -> None:
    """Changes all text in a message, in place."""
    if message.DESCRIPTOR.full_name in _OPAQUE:
        return
    for field, value in message.ListFields():
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            _rewrite_map(value, entry.fields_by_name["value"], change)
        elif entry is not None:
            for item in value if _is_repeated(field) else (value,):
                _rewrite(item, change)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if _is_repeated(field):
                value[:] = map(change, value)
            else:
                setattr(message, field.name, change(value))


def _rewrite_map(values: Any, field: Any, change: Callable[[str], str]) -> None:
    """Changes the keys and values of a map, whose keys are text in all of MLMD's."""
    for key in list(values):
        if field.message_type is None:
            value = values.pop(key)
            values[change(key)] = (
                change(value) if field.type == FieldDescriptor.TYPE_STRING else value
            )
            continue
        _rewrite(values[key], change)
        if change(key) != key:
            values[change(key)].CopyFrom(values.pop(key))


def _is_repeated(field: Any) -> bool:
    return bool(field.is_repeated)
