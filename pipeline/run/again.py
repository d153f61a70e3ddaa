"""`visionline run --again`: a recorded run once more, in a folder of its own.

What the run was told is read from its record; what has changed since is named before, and
the weights that came of it are compared afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.config.strict import parse
from common.errors import ConfigError
from common.formats import short
from components.example_gen import spans
from components.example_gen.digest import fingerprint
from components.example_gen.source import list_source
from lineage.questions.recorded import Recorded, Section, recorded, surroundings
from lineage.store.reader import Reader
from lineage.store.workspace import Workspace
from modelstore.artifact import MODEL_ONNX, SERVING_FORMAT
from pipeline.config import PipelineConfig
from pipeline.recording.code_digest import training_code
from pipeline.recording.own_code import own_code
from pipeline.recording.provenance import describe

_NAMED = 8
"""Packages that are named; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A recorded run, ready to be run again."""

    run_id: str
    config: PipelineConfig
    """As it was recorded; places are absolute, output and serving folder new ones."""
    then: Recorded


def read_back(reader: Reader, ref: str, output: str | None, serving: str | None) -> Again:
    """Finds the run that `ref` means, and its config.

    Args:
      ref: what `lineage diff` takes, or the folder of a run (`runs/<run id>`).
      output, serving: where the new run goes; by default folders of its own.

    Raises:
      NotFoundError: there is no such run.
      ConfigError: its config is not recorded, cannot be used now, or the output folder
        is in use.
    """
    path = Path(ref)
    is_folder = path.parent.name == "runs" and path.is_dir()
    then = recorded(reader, path.name if is_folder else ref)
    run = then.run
    if run is None or run.config is None:
        raise ConfigError(
            f"{ref}: the config of its run is not recorded, so it cannot be run again. "
            "Runs of `visionline run` record it."
        )
    try:
        config = parse(PipelineConfig, _placed(run.config, Path(run.directory or "."), then))
    except ConfigError as e:
        raise ConfigError(
            f"{run.run_id} cannot be run again as it was: {e} (It was recorded in "
            f"{run.directory}, by visionline {(run.packages or {}).get('visionline', 'unknown')}.)"
        ) from None
    folder = output or f"visionline-runs/{config.pipeline_name}-again-{run.run_id}"
    if Workspace(Path(folder)).is_claimed:
        raise ConfigError(
            f"{folder} is the output of a pipeline, and would give its steps from the cache. "
            "Remove it, or choose another folder with --output."
        )
    return Again(
        run_id=run.run_id,
        then=then,
        config=replace(
            config,
            run=replace(config.run, output=folder, metadata=None),
            push=replace(config.push, destination=serving),
        ),
    )


def differences(again: Again) -> list[str]:
    """Returns what is recorded of the run and is otherwise now, in sentences; reads all data.

    Raises:
      DataError: the data is not there any more.
    """
    return [*_changed(again), *_unknown(again)]


def _changed(again: Again) -> Iterator[str]:
    then, config = again.then.facts, again.config
    place = spans.resolve(config.data.path, config.data.span, config.data.version)
    now = describe(own=own_code(config.train.model, config.train.input))
    # Outside a repository nothing is changed.
    clean = replace(
        now, git_dirty=bool(now.git_dirty), visionline_git_dirty=bool(now.visionline_git_dirty)
    )
    values: dict[tuple[Section, str], Any] = {
        ("code", "training code digest"): training_code(config.train),
        **surroundings(clean),
    }
    read = fingerprint(list_source(config.data, place.path))
    for data in again.then.data:
        if data.fingerprint not in (None, read):
            yield f"the images' digest: {_short(data.fingerprint)} then, {_short(read)} now"
    for key, value in values.items():
        before = then.get(key)
        if before is not None and value is not None and before != value:
            yield f"{key[1]}: {_short(before)} then, {_short(value)} now"
    before = again.then.tables.get(("packages", ""))
    if before is not None:
        yield from _packages(before, now.packages or {})


def _packages(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    changed = [
        f"{name} {then.get(name, 'missing')} then, {now.get(name, 'missing')} now"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        yield f"packages: {'; '.join(changed[:_NAMED])}{more}"


def _unknown(again: Again) -> Iterator[str]:
    """Yields what could differ, and nobody can say whether it does."""
    run, then = again.then.run, again.then.facts
    assert run is not None
    recorded_of: dict[str, tuple[Section, str]] = {
        "which images it was made from": ("data", "digest"),
        "the code that trained it": ("code", "training code digest"),
        "visionline's commit": ("code", "visionline commit"),
    }
    for what, place in recorded_of.items():
        if then.get(place) is None:
            yield f"not recorded, so it may differ: {what}"
    for what, dirty, changes in (
        ("", run.git_dirty, run.git_changes),
        (" of visionline", run.visionline_git_dirty, run.visionline_git_changes),
    ):
        if dirty and not changes:
            yield f"not recorded, so it may differ: what the uncommitted changes{what} were"


def compare_weights(then: Recorded, model: Path) -> str:
    """Says whether a new model has the weights that the recorded run's has.

    Args:
      model: the new Model artifact.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    if then.model is None:
        return "The recorded run made no model to compare with."
    before = Path(then.model.uri) / SERVING_FORMAT / MODEL_ONNX
    try:
        old, new = (
            {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
            for path in (before, model / SERVING_FORMAT / MODEL_ONNX)
        )
    except OSError as e:
        return f"The weights cannot be compared: {e.filename} cannot be read ({e.strerror})."
    if {n: w.shape for n, w in old.items()} != {n: w.shape for n, w in new.items()}:
        return "The weights cannot be compared: the two models have other layers."
    if all(old[n].tobytes() == new[n].tobytes() for n in old):
        return f"The weights are bit for bit those of {then.ref}."
    largest = max(float(np.abs(old[n].astype(float) - new[n]).max(initial=0)) for n in old)
    return f"The weights differ from those of {then.ref}: by {largest:.3g} at most."


def _placed(config: Mapping[str, Any], directory: Path, then: Recorded) -> dict[str, Any]:
    """Returns a recorded config for use elsewhere: its paths are those of where it was run."""
    placed: dict[str, Any] = json.loads(json.dumps(config))
    placed.get("evaluate", {}).pop("confidence_intervals", None)  # they cost time once
    train = placed.get("train", {})
    places = (("data", "path"), ("data", "class_names"), ("schema", "frozen"))
    tables = [(placed.get(table, {}), key) for table, key in places]
    for table, key in (*tables, (train, "pretrained"), (train.get("distillation", {}), "model")):
        if isinstance(path := table.get(key), str):
            table[key] = os.path.join(directory, path)
    if len(then.data) == 1 and "{" in placed["data"]["path"]:
        # The same span, and not the newest.
        placed["data"]["span"] = then.data[0].span
        placed["data"]["version"] = then.data[0].version
    return placed


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "some" if value else "none"
    return short(value) if isinstance(value, str) and len(value) in (40, 64) else str(value)
