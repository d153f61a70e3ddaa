"""What a run of a compiled pipeline has other than it was compiled with.

The keys of `step.PARAMETERS` are parameters of each run.  Any other key of the config may
change what components there are and what is in their cache keys, so the pipeline is
compiled anew, from the config that it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import ConfigError
from pipeline.kubeflow.parts import text_of
from pipeline.kubeflow.spec import Package, Spec, arguments, read_package
from pipeline.kubeflow.step import CONFIG, PARAMETERS, RELEASE, SCHEMA_TEXT
from pipeline.kubeflow.words import packed

_SDK = "visionline-"
_BY_KEY = {".".join(key): name for name, key in PARAMETERS.items()}


class Prepared(NamedTuple):
    """What a run is started from."""

    path: Path
    """Of the package."""
    parameters: dict[str, Any]
    """Of the run: those that were given."""
    package: Package


def prepare(path: Path, changes: Mapping[str, Any], scratch: Path) -> Prepared:
    """Returns the package to run, and the parameters of the run.

    Args:
      path: a compiled pipeline.
      changes: values by the pipeline's parameters or by the config's keys, which have a dot.
      scratch: a folder for what is compiled anew.

    Raises:
      ConfigError: the package cannot be read or compiled anew, or a parameter is unknown or
        of another type.
    """
    values = {_BY_KEY.get(k, k): v for k, v in changes.items()}
    package = read_package(path)
    declared = package.spec["root"].get("inputDefinitions", {}).get("parameters", {})
    keys = {k: v for k, v in values.items() if "." in k and k not in declared}
    if keys:
        path = _compiled_anew(path, package.spec, keys, scratch)
        package = read_package(path)
    parameters = {k: v for k, v in values.items() if k not in keys}
    arguments(package.spec, parameters)
    if _is_ours(package.spec):
        parameters = {k: packed(v) if isinstance(v, str) else v for k, v in parameters.items()}
    return Prepared(path, parameters, package)


def _compiled_anew(path: Path, spec: Spec, keys: Mapping[str, Any], scratch: Path) -> Path:
    from common.config import toml_file
    from common.config.strict import parse
    from pipeline.config import PipelineConfig
    from pipeline.kubeflow.compiler.compile import write_package

    if not _is_ours(spec):
        raise ConfigError(
            f"{path}: its parameters have no dots, and only pipelines of `visionline kubeflow "
            f"compile` hold a config with the key {min(keys)}."
        )
    release = spec["sdkVersion"].removeprefix(_SDK)
    if release != RELEASE:
        raise ConfigError(
            f"{path} was compiled by visionline {release}, and this is {RELEASE}: "
            f"{min(keys)} needs it compiled anew. Do so with `visionline kubeflow compile`."
        )
    config = json.loads(text_of(spec, "pusher", CONFIG))
    toml_file.overlay(config, keys)
    recorded = config["schema"]["frozen"]
    schema = text_of(spec, "schema-gen", SCHEMA_TEXT)
    if schema and "schema.frozen" not in keys:
        frozen = scratch / "schema.pbtxt"
        frozen.write_text(schema, encoding="utf-8")
        config["schema"]["frozen"] = str(frozen)
    anew = scratch / path.name
    write_package(parse(PipelineConfig, config), anew, frozen_as=recorded)
    return anew


def _is_ours(spec: Spec) -> bool:
    return str(spec.get("sdkVersion", "")).startswith(_SDK)
