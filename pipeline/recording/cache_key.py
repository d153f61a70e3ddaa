"""What decides whether a node is taken from the cache: what goes in, and never where it lies.

TFX's own key holds absolute paths: URIs of artifacts, folders to work in.  Ours leaves
them out, so that a folder that was moved finds its steps again, and output folders that
share a store share theirs.  An artifact is known by its id in the store; data, weights and
schema by digests that are parameters of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tfx.orchestration.portable import cache_utils

from common.record.record import name_of, names_of
from common.record.steps import Data, Parameters, Push
from lineage.cache.key_parts import without_places
from lineage.store.places import Places

_PLACES = frozenset(
    {
        name_of(Data.resolved_path),
        *names_of(Parameters.cache_dir, Parameters.serving_dir, Parameters.work_dir),
    }
)
"""Parameters that say where, and not what."""
_IMPLIED = frozenset(names_of(Parameters.comparison, Parameters.serving_name, Parameters.must_push))
"""Parameters that `resolved_baseline` follows from, or that keep the cache from being asked."""


def key_parameters(parameters: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """The parameters of a node that are part of its key.

    Args:
      places: of the output folder; what lies in it is named from there.
    """
    found = {}
    for name, value in parameters.items():
        if name in _PLACES | _IMPLIED:
            continue
        if isinstance(value, str):
            # Two output folders may push the same model, each to a place of its own.
            named = places.first_name if name == name_of(Push.destination) else places.from_root
            value = named(without_places(name, value))
        found[name] = value
    return found


def key_artifact(artifact: Any) -> Any:
    """An input as an MLMD message that says nothing of where its files lie."""
    message = copy.deepcopy(artifact.mlmd_artifact)
    message.uri = ""
    for key in list(message.custom_properties):
        if message.custom_properties[key].string_value.startswith("/"):
            del message.custom_properties[key]
    return message


@contextmanager
def place_free(places: Places) -> Iterator[None]:
    """While it lasts, TFX's cache goes by such keys.

    Args:
      places: of the output folder.
    """
    make_key, look_up = cache_utils.get_cache_context, cache_utils.get_cached_outputs
    to_run: set[int] = set()

    def get_cache_context(
        *,
        input_artifacts: Mapping[str, Sequence[Any]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> Any:
        inputs = {
            key: [_Stripped(a) for a in artifacts]
            for key, artifacts in (input_artifacts or {}).items()
        }
        given = parameters or {}
        context = make_key(input_artifacts=inputs, parameters=key_parameters(given, places), **rest)
        (to_run.add if given.get(name_of(Parameters.must_push)) else to_run.discard)(context.id)
        return context

    def get_cached_outputs(metadata_handle: Any, cache_context: Any) -> Any:
        if cache_context.id in to_run:
            return None
        return look_up(metadata_handle=metadata_handle, cache_context=cache_context)

    cache_utils.get_cache_context = get_cache_context
    cache_utils.get_cached_outputs = get_cached_outputs
    try:
        yield
    finally:
        cache_utils.get_cache_context, cache_utils.get_cached_outputs = make_key, look_up


class _Stripped:
    """As much of an artifact as TFX's key is made of."""

    def __init__(self, artifact: Any) -> None:
        self.mlmd_artifact = key_artifact(artifact)
