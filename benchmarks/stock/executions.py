"""Prints the seconds of each finished component of a TFX run, by MLMD's timestamps, as JSON."""

from __future__ import annotations

import json
import sys

import ml_metadata
from ml_metadata.proto import metadata_store_pb2 as mlmd


def main(metadata: str) -> None:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = metadata
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    store = ml_metadata.MetadataStore(config)
    names = {t.id: t.name.rpartition(".")[2] for t in store.get_execution_types()}
    seconds = {
        names[e.type_id]: (e.last_update_time_since_epoch - e.create_time_since_epoch) / 1000
        for e in sorted(store.get_executions(), key=lambda e: e.id)
        if e.last_known_state == mlmd.Execution.COMPLETE
    }
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1])
