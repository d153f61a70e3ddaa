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
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import component_spec, standard_artifacts
from tfx.types.channel import BaseChannel, OutputChannel

from common.errors import DataError
from common.files import read_json, sync_directory, write_json
from common.mounts import remote_uri
from components import details, executor_io
from components.driver import Driver, driven
from components.evaluator.verdict import WHY_NOT_FILE
from components.executor_io import Artifacts, Properties, one
from components.infra_validation.report import REPORT, Report
from modelstore.artifact import SERVING_FORMAT, ModelCard, PushManifest, model_digest
from modelstore.retention import prune
from modelstore.versions import damage, list_versions, next_version, publish, withdrawn_by

VERSION = "version"
MUST_PUSH = "must_push"
"""Set where there is something to push; such an execution is never taken from the cache,
see `pipeline.recording.cache_key`."""
PUSHED = "pushed"
MODEL_NAME = "model_name"
MODEL_ID = "model_id"
DESTINATION = "pushed_destination"
PUSHED_VERSION = "pushed_version"
WITHDRAWN_BY = "withdrawn_by"
"""The version of the rollback for which a model is not pushed again."""
WHY_NOT_PUSHED = "why_not_pushed"
"""The reasons, one a line."""
ALREADY_SERVED = "already_served"
"""1: the version was in serving before, and holds this very model."""
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
        pushed_model.set_string_custom_property(MODEL_NAME, name)
        if not _is_blessed(input_dict):
            self._leave(pushed_model, _why_not_blessed(input_dict))
            return
        model = one(input_dict, "model")
        folder = _folder(exec_properties)
        version = served = _serving_version(folder, _source(model))
        if version is None and (by := _withdrawn_by(folder, model)) is not None:
            self._leave(pushed_model, [f"version {by} was made to roll back from this model"])
            pushed_model.set_int_custom_property(WITHDRAWN_BY, by)
            details.record(withdrawn_by=by)
            return
        if version is None:
            version = _publish(self._context, folder, input_dict).version
        target = folder / str(version)
        print(
            f"Pushed {name} version {version} to {target}."
            if served is None
            else f"Nothing new to push: {name} version {version} is the same model ({target}).",
            flush=True,
        )
        self._MarkPushed(pushed_model, pushed_destination=str(target))
        pushed_model.set_int_custom_property(PUSHED_VERSION, version)
        pushed_model.set_int_custom_property(MODEL_ID, model.id)
        already_served = int(served is not None)
        pushed_model.set_int_custom_property(ALREADY_SERVED, already_served)
        _tell(
            pushed_model,
            pushed=True,
            name=name,
            version=version,
            destination=str(target),
            already_served=bool(already_served),
        )
        details.record(
            pushed=1,
            model_name=name,
            pushed_version=version,
            destination=str(target),
            already_served=already_served,
        )
        if (keep := exec_properties.get("keep_versions")) is not None:
            _prune(folder, keep)

    def _leave(self, pushed_model: Any, reasons: Sequence[str]) -> None:
        """Pushes nothing, and says why to whoever looks."""
        self._MarkNotPushed(pushed_model)
        name = pushed_model.get_string_custom_property(MODEL_NAME)
        # One a line, whatever ends lines in the name of a slice.
        lines = [" ".join(reason.splitlines()) for reason in reasons]
        for line in lines:
            print(f"{name} is not pushed: {line}", flush=True)
        why_not = "\n".join(lines)
        pushed_model.set_string_custom_property(WHY_NOT_PUSHED, why_not)
        _tell(pushed_model, pushed=False, name=name, why_not=lines)
        details.record(pushed=0, why_not_pushed=why_not)


class PusherSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "destination": component_spec.ExecutionParameter(type=str),
        "name": component_spec.ExecutionParameter(type=str),
        "keep_versions": component_spec.ExecutionParameter(type=int, optional=True),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "infra_blessing": component_spec.ChannelParameter(
            # A pipeline may do without the step, but not a run of one that has it.
            type=standard_artifacts.InfraBlessing,
            optional=True,
            allow_empty=False,
        ),
    }
    OUTPUTS = {
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }


class Pusher(base_component.BaseComponent):
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
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(PusherExecutor)
    DRIVER_CLASS = PusherDriver

    def __init__(
        self,
        *,
        model: BaseChannel,
        model_blessing: BaseChannel,
        evaluation: BaseChannel,
        infra_blessing: BaseChannel | None = None,
        destination: str,
        name: str,
        keep_versions: int | None = None,
    ) -> None:
        super().__init__(
            PusherSpec(
                model=model,
                model_blessing=model_blessing,
                evaluation=evaluation,
                infra_blessing=infra_blessing,
                destination=destination,
                name=name,
                keep_versions=keep_versions,
                pushed_model=OutputChannel(standard_artifacts.PushedModel, self, "pushed_model"),
            )
        )


def _publish(context: Any, folder: Path, inputs: Artifacts) -> PushManifest:
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

    pushed = publish(source, folder, manifest)
    sync_directory(folder.parent)
    return pushed


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
    details.record(removed_versions=", ".join(map(str, pruned.removed)))
    for version, reason in pruned.spared.items():
        logging.info("%s version %d is kept: %s.", folder.name, version, reason)


def _folder(exec_properties: dict[str, Any]) -> Path:
    return Path(exec_properties["destination"]) / str(exec_properties["name"])


def _source(model: Any) -> Path:
    return Path(model.uri) / SERVING_FORMAT


def _is_blessed(inputs: Mapping[str, Sequence[Any]]) -> bool:
    verdicts = [*inputs["model_blessing"], *inputs.get("infra_blessing", ())]
    return bool(verdicts) and all(v.get_int_custom_property("blessed") == 1 for v in verdicts)


def _why_not_blessed(inputs: Mapping[str, Sequence[Any]]) -> list[str]:
    """What the Evaluator missed, and what was wrong in the server."""
    reasons = []
    if any(v.get_int_custom_property("blessed") != 1 for v in inputs["model_blessing"]):
        reasons += _failures(inputs) or ["the Evaluator did not bless it"]
    for verdict in inputs.get("infra_blessing", ()):
        folder = Path(verdict.uri)
        if (folder / REPORT).exists():
            reasons += Report.read(folder).failures()
        elif verdict.get_int_custom_property("blessed") != 1:
            reasons.append("infra validation did not bless it")
    return reasons


def _failures(inputs: Mapping[str, Sequence[Any]]) -> list[str]:
    """The Evaluator's own words; nothing where another component judged."""
    path = executor_io.folder(inputs, "evaluation") / WHY_NOT_FILE
    return list(read_json(path)) if path.exists() else []


def _withdrawn_by(folder: Path, model: Any) -> int | None:
    return withdrawn_by(folder, remote_uri(model.uri), model_digest(_source(model)))


def _serving_version(folder: Path, source: Path) -> int | None:
    """The newest version, if it is this very model and whole."""
    versions = list_versions(folder)
    if not versions:
        return None
    newest = folder / str(versions[-1])
    try:
        same = PushManifest.read(newest).model_digest == model_digest(source)
    except DataError:
        return None
    return versions[-1] if same and not damage(newest) else None
