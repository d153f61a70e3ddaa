"""Rollbacks in the metadata store, as pushes are: what serves a version can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.errors import StoreError
from common.process.user import user
from common.record.artifacts import Pushed
from common.record.kinds import PIPELINE, PUSHED_MODEL, ROLLBACK
from common.record.record import annotate
from common.record.steps import Rollback
from lineage.store.connection import Connection
from lineage.store.setup import open_store
from modelstore.rollback import RolledBack


def record_rollback(connection: Connection, folder: Path, done: RolledBack, reason: str) -> int:
    """Records a rollback that was done; returns the execution's id.

    The execution is in the context of the pipeline that made the model, so that its
    next run is compared with what is served now.

    Args:
      folder: `<serving>/<name>`.

    Raises:
      StoreError: the store cannot be written, or does not know the model.
    """
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    manifest = done.manifest
    with open_store(connection) as store:
        model = _model(store, connection, manifest.mlmd.get("model"), manifest.model_uri)
        execution = mlmd.Execution(
            type_id=store.put_execution_type(mlmd.ExecutionType(name=ROLLBACK)),
            last_known_state=mlmd.Execution.COMPLETE,
        )
        rollback = Rollback(
            user=user(),
            when=manifest.pushed_at,
            reason=reason,
            model_name=folder.name,
            pushed_version=manifest.version,
            rolled_back_to=done.copied,
            rolled_back_from=done.replaced,
        )
        annotate(execution, rollback)
        pushed = mlmd.Artifact(
            type_id=store.put_artifact_type(
                mlmd.ArtifactType(name=PUSHED_MODEL), can_add_fields=True, can_omit_fields=True
            ),
            state=mlmd.Artifact.LIVE,
        )
        push = Pushed(
            pushed=True,
            model_name=folder.name,
            model_id=model.id,
            pushed_version=manifest.version,
            pushed_destination=str(folder.absolute() / str(manifest.version)),
        )
        annotate(pushed, push)
        events = []
        for artifact, type_, key in ((model, "INPUT", "model"), (pushed, "OUTPUT", "pushed_model")):
            event = mlmd.Event(type=mlmd.Event.Type.Value(type_))
            event.path.steps.add(key=key)
            event.path.steps.add(index=0)
            events.append((artifact, event))
        pipeline = store.get_context_type(PIPELINE)
        contexts = [c for c in store.get_contexts_by_artifact(model.id) if c.type_id == pipeline.id]
        return int(store.put_execution(execution, events, contexts)[0])


def _model(store: Any, connection: Connection, model_id: int | None, uri: str) -> Any:
    """Returns the model's artifact; in another store the id may be something else's."""
    models = store.get_artifacts_by_id([model_id]) if model_id is not None else []
    if not models or models[0].uri != uri:
        models = store.get_artifacts_by_uri(uri)
    if not models:
        raise StoreError(f"The model {uri} is not in the metadata store {connection}.")
    return models[0]
