"""MLMD's own library, mended for many writers and for any text.

It tries again where it lost against another writer, but not always: on MySQL a deadlock
can come as any error, also while a store is being opened.  Types it makes twice when two
writers need a new one at once.

On PostgreSQL its text with a backslash leaves the quotes of the statement it is put
into: an error at best, a command of its own at worst.  So none reaches it: a character
for private use stands in the tables for the backslash, and `postgresql.py` reads it as one.

Where an output folder was moved, artifacts are given out as they lie now and taken back as
they are recorded (`lineage.store.places`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from ml_metadata.metadata_store.metadata_store import MetadataStore

from common.mounts import remember
from components import tfx_private
from lineage.store.backends.base import STAND_IN, hide, restore
from lineage.store.connection import Connection, Kind
from lineage.store.opening import backend
from lineage.store.patience import is_busy, patiently
from lineage.store.places import HERE, Places

_OPAQUE = ("google.protobuf.Struct", "google.protobuf.Any")
"""MLMD writes these as Base64."""
_TYPE_MAKERS = ("PutArtifactType", "PutExecutionType", "PutContextType", "PutTypes")
_PATIENCE_SECONDS = 120.0
"""For other writers; each is done in well under a second."""


class Store(MetadataStore):  # type: ignore[misc]
    """MLMD's MetadataStore, mended."""

    places = HERE

    def __init__(self, config: Any, enable_upgrade_migration: bool = False) -> None:
        self._recorded: dict[int, dict[str, str]] = {}
        """By artifact id, what is recorded of it, by what it was given out as."""

        def open_once() -> None:
            super(Store, self).__init__(config, enable_upgrade_migration)

        patiently(open_once, is_busy, _PATIENCE_SECONDS)
        self._max_num_retries = 1  # its pauses are seconds; ours begin shorter

    def _call(
        self, method_name: str, request: Any, response: Any, extra_options: Any = None
    ) -> None:
        if self.places.moved:
            self._take_back(request)
        hides = self._config.HasField("postgresql")
        if hides and b"\\" in request.SerializeToString():
            _rewrite(request, hide)

        def call_once() -> None:
            with self._alone(method_name):
                super(Store, self)._call(method_name, request, response, extra_options)

        patiently(call_once, is_busy, _PATIENCE_SECONDS)
        if hides and STAND_IN.encode() in response.SerializeToString():
            _rewrite(response, restore)
        if self.places.moved:
            self._give_out(response)

    def _give_out(self, response: Any) -> None:
        for artifact in _artifacts_in(response):
            texts = self._recorded.setdefault(artifact.id, {})
            texts.update(_renamed(artifact, self.places))
            if (uri := texts.get(artifact.uri)) is not None:
                remember(artifact.uri, uri)

    def _take_back(self, request: Any) -> None:
        for artifact in _artifacts_in(request):
            if texts := self._recorded.get(artifact.id):
                _rewrite(artifact, _look_up(texts))
        if request.DESCRIPTOR.name == "GetArtifactsByURIRequest":
            request.uris[:] = [n for uri in request.uris for n in self.places.names(uri)]

    def _alone(self, method_name: str) -> AbstractContextManager[None]:
        """Keeps two writers from making a type twice; nothing in a server's tables does."""
        if method_name not in _TYPE_MAKERS or self._config.HasField("sqlite"):
            return nullcontext()
        connection = _connection(self._config)
        return backend(connection).setting_up(connection)


def open_mlmd(connection: Connection, *, readonly: bool = False) -> Store:
    """Opens a store with MLMD, which makes tables where there are none.

    Raises:
      RuntimeError: it cannot.
    """
    return Store(connection.mlmd_config(readonly=readonly))


def mended(places: Places = HERE) -> AbstractContextManager[None]:
    """Has TFX open its stores as `Store`s while it lasts; `places` are the output folder's."""
    return tfx_private.stores_replaced(type("Store", (Store,), {"places": places}))


def _connection(config: Any) -> Connection:
    """Reads a server's config that `Connection.mlmd_config` made."""
    kind: Kind = "mysql" if config.HasField("mysql") else "postgresql"
    c = getattr(config, kind)
    database = c.database if kind == "mysql" else c.dbname
    return Connection(kind=kind, host=c.host, port=int(c.port), user=c.user, database=database)


def _artifacts_in(message: Any) -> Iterator[Any]:
    """Yields the artifacts in a message, at any depth."""
    if message.DESCRIPTOR.full_name == "ml_metadata.Artifact":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else (value,):
            yield from _artifacts_in(item)


def _renamed(artifact: Any, places: Places) -> dict[str, str]:
    """Makes an artifact say where it is now; returns what it said, by what it says."""
    former = {}

    def change(key: str, text: str) -> str:
        (now,) = places.read({key: text}).values()
        if now != text:
            former[now] = text
        return str(now)

    artifact.uri = change("uri", artifact.uri)
    for key, value in artifact.custom_properties.items():
        if value.HasField("string_value"):
            value.string_value = change(key, value.string_value)
    return former


def _look_up(texts: Mapping[str, str]) -> Callable[[str], str]:
    return lambda text: texts.get(text, text)


def _rewrite(message: Any, change: Callable[[str], str]) -> None:
    """Changes all text in a message, in place."""
    if message.DESCRIPTOR.full_name in _OPAQUE:
        return
    for field, value in message.ListFields():
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            _rewrite_map(value, entry.fields_by_name["value"], change)
        elif entry is not None:
            for item in value if field.is_repeated else (value,):
                _rewrite(item, change)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
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
