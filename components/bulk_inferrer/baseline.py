"""What a candidate is compared with: the model served under the name, whichever framework made it.

TFX's LatestBlessedModelStrategy takes the newest blessed model of the whole pipeline, also
one that was never pushed, belongs to another name, or has lost its files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx.dsl.components.common import resolver
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2

from common.config.strict import dump
from common.mounts import remote_uri
from common.record.artifacts import Pushed
from common.record.kinds import PIPELINE, PUSHED_MODEL
from common.record.record import annotated, name_of
from common.record.steps import Parameters
from components.driver import Driver, driven
from modelstore.artifact import SERVING_FORMAT, PushManifest
from modelstore.baseline import OFF, Baseline, find_baseline, unusable
from modelstore.versions import list_versions

RESOLVED = name_of(Parameters.resolved_baseline)
"""An execution property: a `Baseline` as JSON."""


class ServedModel(resolver.ResolverStrategy):
    """Resolves `model` to the record of the baseline, or to none.

    It is for lineage alone: `BaselineDriver` says what is compared, which the store need
    not know.
    """

    def __init__(self, pipeline: str, serving_dir: str, name: str, comparison: str) -> None:
        self._pipeline = pipeline
        self._folder = Path(serving_dir) / name
        self._comparison = comparison

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[Any]]
    ) -> dict[str, list[Any]]:
        (candidate,) = input_dict["candidate"]
        baseline = resolve(store, self._pipeline, self._folder, candidate, self._comparison)
        nothing: dict[str, list[Any]] = {key: [] for key in input_dict}
        if baseline.where is None:
            return nothing
        manifest = PushManifest.read(Path(baseline.where))
        models = [m for m in input_dict["model"] if remote_uri(m.uri) == manifest.model_uri]
        models = [m for m in models if m.id == manifest.mlmd.get("model")] or models
        return {**nothing, "model": models[-1:]}


class BaselineDriver(Driver):
    """Says what the candidate is compared with, before the cache is looked up.

    It is part of the cache key, so that no predictions are reused of another model; and
    through them no verdict that rests on another comparison, or on none.
    """

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        properties = dict(execution_info.exec_properties)
        (candidate,) = execution_info.input_dict["candidate"]
        folder = Path(properties["serving_dir"]) / properties["serving_name"]
        pipeline, comparison = execution_info.pipeline_info.id, properties["comparison"]
        with self.connection as handle:
            baseline = resolve(handle.store, pipeline, folder, candidate, comparison)
        properties[RESOLVED] = json.dumps(dump(baseline), sort_keys=True)
        return driven(properties)


def resolve(store: Any, pipeline: str, folder: Path, candidate: Any, comparison: str) -> Baseline:
    """Finds the baseline of a candidate.

    Args:
      folder: `<serving>/<name>`.  Where nothing is in it, the one is asked that the
        pipeline's last push of that name went to.
      comparison: see `EvaluateConfig.baseline`.
    """
    if comparison == "none":
        return OFF
    directory = Path(candidate.uri) / SERVING_FORMAT
    baseline = find_baseline(folder, directory)
    if baseline.state != "first" or list_versions(folder):
        return baseline
    pushed = _last_pushed(store, pipeline, folder.name, candidate.id)
    if pushed is None:
        return baseline
    elsewhere = find_baseline(pushed.parent, directory)
    if elsewhere.state != "first":
        return elsewhere
    return unusable(
        f"{folder.name}@{pushed.name}",
        f"it is not at {pushed} any more",
        "Say where it is now with --serving",
    )


def _last_pushed(store: Any, pipeline: str, name: str, candidate: int) -> Path | None:
    """Finds the version that another model of the pipeline was pushed to last under the name."""
    context = store.get_context_by_type_and_name(PIPELINE, pipeline)
    type_ = [t.id for t in store.get_artifact_types() if t.name == PUSHED_MODEL]
    if context is None or not type_:
        return None
    artifacts = [a for a in store.get_artifacts_by_context(context.id) if a.type_id in type_]
    for artifact in sorted(artifacts, key=lambda a: a.id, reverse=True):
        pushed = Pushed.read(annotated(artifact))
        is_other = pushed.model_name == name and pushed.model_id != candidate
        if pushed.pushed and is_other and pushed.pushed_destination:
            return Path(pushed.pushed_destination)
    return None
