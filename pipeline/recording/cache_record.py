"""What decided whether a node was taken from the cache, for the record in MLMD.

TFX keeps of it only a hash, the name of a context of type `execution_cache`.  The parts
are written down here as `pipeline.recording.cache_key` has them hashed; `lineage.cache.key_parts`
reads them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from google.protobuf import json_format
from tfx import version

from common.record.steps import Step
from components.tfx_private import Prepared
from lineage.cache.key_parts import LONGEST, short
from lineage.store.places import Places
from pipeline.recording.cache_key import key_artifact, key_parameters


def cache_record(prepared: Prepared, places: Places) -> Step:
    """What is recorded of it on the execution of a node.

    Args:
      places: of the output folder.
    """
    parameters = key_parameters(prepared.properties, places)
    parts = {
        "enabled": prepared.caching,
        "parameters": {k: short(str(v), LONGEST) for k, v in sorted(parameters.items())},
        "inputs": {
            key: [[a.id, _digest(key_artifact(a))] for a in artifacts]
            for key, artifacts in sorted(prepared.inputs.items())
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
