"""What decided whether a node was taken from the cache, for the record in MLMD.

TFX keeps of it only a hash, the name of a context of type `execution_cache`.  The parts
are written down here as `pipeline.recording.cache_key` has them hashed; `lineage.cache.key_parts`
reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from tfx import version

from common.record.steps import Step
from lineage.cache.key_parts import LONGEST, short
from lineage.store.places import Places
from pipeline.recording.cache_key import key_artifact, key_parameters


def cache_record(launcher: Any, prepared: Any, places: Places) -> Step:
    """What is recorded of it on the execution of a node.

    Args:
      launcher: TFX's, of the node.
      prepared: what its `_prepare_execution` returned, after the cache was looked up.
      places: of the output folder.
    """
    node = launcher._pipeline_node
    info = prepared.execution_info
    inputs: Mapping[str, Sequence[Any]] = info.input_dict
    parameters = key_parameters(info.exec_properties, places)
    parts = {
        "enabled": bool(node.execution_options.caching_options.enable_cache),
        "parameters": {k: short(str(v), LONGEST) for k, v in sorted(parameters.items())},
        "inputs": {
            key: [[a.id, _digest(key_artifact(a))] for a in artifacts]
            for key, artifacts in sorted(inputs.items())
        },
        "executor": json.dumps(json_format.MessageToDict(launcher._executor_spec), sort_keys=True),
        "node": _digest(launcher._pipeline_info, node.node_info),
        "tfx_version": version.__version__,
    }
    # The cache's context is the last that the launcher adds.
    return Step(cache_key=prepared.contexts[-1].name, cache_parts=parts)


def _digest(*messages: Any) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(message.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]
