"""What decides whether a node is taken from the cache: what goes in, and never where it lies.

TFX's own key holds absolute paths: URIs of artifacts, folders to work in.  Ours leaves
them out, so that a folder that was moved finds its steps again, and output folders that
share a store share theirs.  An artifact is known by its id in the store; data, weights and
schema by digests that are parameters of their own.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

from google.protobuf import json_format
from tfx import version

from common.record.record import name_of, names_of
from common.record.steps import Data, Parameters, Push, Step
from components.tfx_private import Artifacts, Prepared, cache_keys
from lineage.cache.key_parts import LONGEST, short, without_places
from lineage.store.places import Places

_PLACES = frozenset(
    {
        name_of(Data.resolved_path),
        *names_of(Parameters.serving_dir, Parameters.work_dir),
    }
)
"""Parameters that say where, and not what."""
_IMPLIED = frozenset(names_of(Parameters.comparison, Parameters.serving_name, Parameters.must_push))
"""Parameters that `resolved_baseline` follows from, or that keep the cache from being asked."""
_ASIDE = frozenset({"candidate"})
"""Inputs that `resolved_baseline` is found by, and nothing is made of."""


def key_parameters(parameters: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """Returns the parameters of a node that are part of its key.

    Args:
      places: of the output folder; what lies in it is named from there.
    """
    parts = {}
    for name, value in parameters.items():
        if name in _PLACES | _IMPLIED:
            continue
        if isinstance(value, str):
            # Two output folders may push the same model, each to a place of its own.
            named = places.first_name if name == name_of(Push.destination) else places.from_root
            value = named(without_places(name, value))
        parts[name] = value
    return parts


def key_inputs(inputs: Artifacts) -> Artifacts:
    """Returns the inputs of a node that are part of its key."""
    return {key: artifacts for key, artifacts in inputs.items() if key not in _ASIDE}


def key_artifact(artifact: Any) -> Any:
    """Returns an input as an MLMD message that says nothing of where its files lie."""
    message = copy.deepcopy(artifact.mlmd_artifact)
    message.uri = ""
    for key in list(message.custom_properties):
        if message.custom_properties[key].string_value.startswith("/"):
            del message.custom_properties[key]
    return message


def place_free(places: Places) -> AbstractContextManager[None]:
    """Makes TFX's cache go by such keys while it lasts.

    Args:
      places: of the output folder.
    """

    def parts(
        inputs: Artifacts, parameters: Mapping[str, Any]
    ) -> tuple[Artifacts, Mapping[str, Any]]:
        # As much of an artifact as TFX's key is made of.
        stripped = {
            key: [SimpleNamespace(mlmd_artifact=key_artifact(a)) for a in artifacts]
            for key, artifacts in key_inputs(inputs).items()
        }
        return stripped, key_parameters(parameters, places)

    must_push = name_of(Parameters.must_push)
    return cache_keys(parts, must_run=lambda parameters: bool(parameters.get(must_push)))


def cache_record(prepared: Prepared, places: Places) -> Step:
    """Returns what is recorded of its key on the execution of a node.

    TFX keeps of it only a hash, the name of a context of type `execution_cache`;
    `lineage.cache.key_parts` reads the parts.

    Args:
      places: of the output folder.
    """
    parameters = key_parameters(prepared.properties, places)
    parts = {
        "enabled": prepared.caching,
        "parameters": {k: short(str(v), LONGEST) for k, v in sorted(parameters.items())},
        "inputs": {
            key: [[a.id, _digest(key_artifact(a))] for a in artifacts]
            for key, artifacts in sorted(key_inputs(prepared.inputs).items())
        },
        "executor": json.dumps(json_format.MessageToDict(prepared.executor), sort_keys=True),
        "node": _digest(*prepared.identity),
        "tfx_version": version.__version__,
    }
    return Step(cache_key=prepared.cache_key, cache_parts=parts)


def _digest(*messages: Any) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(message.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]
