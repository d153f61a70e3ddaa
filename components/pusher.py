"""Pushes a blessed model as the next version of its name.

Not TFX's own, which copies into the live folder, versions by whole seconds,
and skips a copy while reporting it pushed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from absl import logging
from tfx.components.pusher import executor as tfx_executor
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import standard_artifacts as types
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from common.errors import DataError
from common.files import read_json, sync_directory, write_json
from common.mounts import remote_uri
from common.record.artifacts import Blessing, Pushed
from common.record.record import annotate, annotated, lines, name_of, value_of
from common.record.steps import Parameters, Push, PushOutcome
from components import details, executor_io
from components.component import Component, PythonExecutor, channels, texts
from components.driver import Driver, driven
from components.evaluator.verdict import WHY_NOT_FILE
from components.executor_io import Artifacts, Properties, one
from components.infra_validation.report import REPORT, Report
from modelstore.artifact import SERVING_FORMAT, ModelCard, PushManifest, model_digest
from modelstore.retention import prune
from modelstore.versions import damage, list_versions, next_version, publish, withdrawn_by

VERSION = "version"
MUST_PUSH = name_of(Parameters.must_push)
"""See `pipeline.recording.cache_key`."""
PUSH = "push.json"
"""In the artifact, what came of the push.  TFX's cache believes in an artifact while its
directory is there, and object stores keep no directory without a file."""


class PusherDriver(Driver):
    """Says which version this push makes, or which one already serves the model.

    It runs before the cache is looked up, and what it says is part of the cache
    key.  So a run repeated unchanged is cached; and it never is where there is
    something to push: the served files were removed or damaged, or another model was
    pushed since.  A model that was rolled back from is not pushed again, however often
    its run is repeated.
    """

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        inputs, properties = execution_info.input_dict, dict(execution_info.exec_properties)
        model = one(inputs, "model")
        folder, source = _folder(properties), _source(model)
        version = _serving_version(folder, source) or _withdrawn_by(folder, model)
        if version is None and _is_blessed(inputs):
            # The version alone does not tell: they begin at 1 again in a new folder.
            properties[MUST_PUSH] = 1
        properties[VERSION] = version or next_version(folder)
        return driven(properties)


class PusherExecutor(tfx_executor.Executor):
    """See `Pusher`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        pushed_model = one(output_dict, "pushed_model")
        name = exec_properties["name"]
        if not _is_blessed(input_dict):
            self._leave(pushed_model, name, _why_not_blessed(input_dict))
            return
        model = one(input_dict, "model")
        folder = _folder(exec_properties)
        version = served = _serving_version(folder, _source(model))
        if version is None and (by := _withdrawn_by(folder, model)) is not None:
            why_not = f"version {by} was made to roll back from this model"
            self._leave(pushed_model, name, [why_not], by)
            return
        if version is None:
            version = _publish(self._context, folder, input_dict)
        target = folder / str(version)
        before = served is not None
        print(
            f"Nothing new to push: {name} version {version} is the same model ({target})."
            if before
            else f"Pushed {name} version {version} to {target}.",
            flush=True,
        )
        self._MarkPushed(pushed_model, pushed_destination=str(target))
        outcome = PushOutcome(
            pushed=True, model_name=name, pushed_version=version, already_served=before
        )
        annotate(pushed_model, outcome, Pushed(model_id=model.id))
        details.record(outcome, Push(destination=str(target)))
        _tell(
            pushed_model,
            pushed=True,
            name=name,
            version=version,
            destination=str(target),
            already_served=before,
        )
        if (keep := exec_properties.get("keep_versions")) is not None:
            _prune(folder, keep)

    def _leave(
        self,
        pushed_model: Any,
        name: str,
        reasons: Sequence[str],
        withdrawn_by: int | None = None,
    ) -> None:
        """Pushes nothing, and says why to whoever looks."""
        self._MarkNotPushed(pushed_model)
        why_not = lines(reasons)
        for line in why_not:
            print(f"{name} is not pushed: {line}", flush=True)
        outcome = PushOutcome(pushed=False, why_not_pushed=why_not, withdrawn_by=withdrawn_by)
        annotate(pushed_model, outcome, Pushed(model_name=name))
        _tell(pushed_model, pushed=False, name=name, why_not=why_not)
        details.record(outcome)


class PusherSpec(ComponentSpec):
    PARAMETERS = {
        **texts("destination", "name"),
        "keep_versions": ExecutionParameter(type=int, optional=True),
    }
    INPUTS = {
        **channels(model=types.Model, model_blessing=types.ModelBlessing),
        **channels(evaluation=types.ModelEvaluation),
        "infra_blessing": ChannelParameter(
            # A pipeline may do without the step, but not a run of one that has it.
            type=types.InfraBlessing,
            optional=True,
            allow_empty=False,
        ),
    }
    OUTPUTS = channels(pushed_model=types.PushedModel)


class Pusher(Component):
    """Pushes a blessed model to `<destination>/<name>/<version>/`.

    Args:
      model: the model artifact.
      model_blessing: the Evaluator's verdict; without it nothing is pushed.
      evaluation: what the verdict rests on, for the manifest.
      infra_blessing: InfraValidator's verdict; if it is given, it must be good, too.
      destination: the serving folder.
      name: the model's name there.
      keep_versions: see `modelstore.retention.prune`; None keeps all.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = PythonExecutor("components.pusher.PusherExecutor")
    DRIVER_CLASS = PusherDriver


def _publish(context: Any, folder: Path, inputs: Artifacts) -> int:
    model = one(inputs, "model")
    source = _source(model)
    card = ModelCard.read(source)
    ids = {key: artifacts[0].id for key, artifacts in inputs.items()}

    def manifest(version: int) -> PushManifest:
        return PushManifest(
            name=folder.name,
            version=version,
            pushed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            framework=card.framework,
            architecture=card.architecture,
            model_uri=remote_uri(model.uri),
            run_id=context.pipeline_run_id or "",
            mlmd={**ids, "pusher_execution": int(context._unique_id)},
        )

    version = publish(source, folder, manifest).version
    sync_directory(folder.parent)
    return version


def _tell(pushed_model: Any, **values: Any) -> None:
    folder = Path(pushed_model.uri)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PUSH, values)


def _prune(folder: Path, keep: int) -> None:
    """Removes old versions; the push is done, whatever comes of it."""
    try:
        pruned = prune(folder, keep)
    except (DataError, OSError) as e:
        logging.warning("No old versions of %s were removed: %s", folder.name, e)
        return
    details.record(Push(removed_versions=", ".join(map(str, pruned.removed))))
    for version, reason in pruned.spared.items():
        logging.info("%s version %d is kept: %s.", folder.name, version, reason)


def _folder(exec_properties: dict[str, Any]) -> Path:
    return Path(exec_properties["destination"]) / str(exec_properties["name"])


def _source(model: Any) -> Path:
    return Path(model.uri) / SERVING_FORMAT


def _is_blessed(inputs: Mapping[str, Sequence[Any]]) -> bool:
    verdicts = [*inputs["model_blessing"], *inputs.get("infra_blessing", ())]
    return bool(verdicts) and all(map(_blessed, verdicts))


def _blessed(verdict: Any) -> bool:
    return bool(value_of(annotated(verdict), Blessing.blessed))


def _why_not_blessed(inputs: Mapping[str, Sequence[Any]]) -> list[str]:
    """Lists what the Evaluator missed, and what was wrong in the server."""
    reasons: list[str] = []
    if not all(map(_blessed, inputs["model_blessing"])):
        # The Evaluator's own words; nothing where another component judged.
        path = executor_io.folder(inputs, "evaluation") / WHY_NOT_FILE
        failures = read_json(path) if path.exists() else []
        reasons += failures or ["the Evaluator did not bless it"]
    for verdict in inputs.get("infra_blessing", ()):
        folder = Path(verdict.uri)
        if (folder / REPORT).exists():
            reasons += Report.read(folder).failures()
        elif not _blessed(verdict):
            reasons.append("infra validation did not bless it")
    return reasons


def _withdrawn_by(folder: Path, model: Any) -> int | None:
    return withdrawn_by(folder, remote_uri(model.uri), model_digest(_source(model)))


def _serving_version(folder: Path, source: Path) -> int | None:
    """Returns the newest version, if it is this very model and whole."""
    versions = list_versions(folder)
    if not versions:
        return None
    newest = folder / str(versions[-1])
    try:
        same = PushManifest.read(newest).model_digest == model_digest(source)
    except DataError:
        return None
    return versions[-1] if same and not damage(newest) else None
