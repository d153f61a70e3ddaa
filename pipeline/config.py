"""The config of a run: TOML file, flags over it, typed and checked.

Nothing heavy is imported here: the command line parses a config, and refuses
a wrong one, before TFX or a framework is loaded.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from common.config import toml_file
from common.config.ranges import at_least, between, matching, require
from common.config.strict import Checked, dump, parse
from common.errors import ConfigError, MissingKeyError, nearest
from common.extras import require_installed
from common.files import digest
from common.paths import check_folder
from components.evaluator.verdict import EvaluateConfig
from components.example_gen.config import DataConfig
from components.infra_validation.config import InfraValidationConfig
from lineage.store.connection import Connection
from lineage.store.workspace import Workspace
from pipeline import beam_args
from pipeline.kubeflow.config import KubeflowConfig
from trainers.config import TrainConfig
from trainers.frameworks import frameworks, get_framework

Name = Annotated[
    str, matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "letters, digits, '.', '_' and '-'")
]
Side = Annotated[int, between(8, 2048)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaConfig(Checked):
    """What the data must look like."""

    frozen: str | None = None
    """Data must match this schema.pbtxt, which `visionline schema --freeze` wrote (and you may
    have edited); without it the schema is inferred from the train split each time."""
    accept: tuple[str, ...] = ()
    """These anomalies do not stop the run, see docs/data.md."""
    max_conflicting_fraction: Annotated[float, between(0, 1)] = 0.05
    """It is an anomaly when more than this fraction of the images is there under more than one
    label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformConfig(Checked):
    """How images become arrays of one size."""

    image_size: Side | tuple[Side, Side] = 224
    """Images are made so large, in pixels: one side of a square, or height and width (as a
    flag 224x320)."""
    resize: Literal["stretch", "crop", "pad"] = "stretch"
    """stretch: changes the aspect ratio; crop: cuts the longer side; pad: black bars."""

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        if isinstance(self.image_size, int):
            return (self.image_size, self.image_size)
        return self.image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfig(Checked):
    destination: str | None = None
    """Models are pushed to this serving folder; by default `serving` in the output folder."""
    keep_versions: Annotated[int, at_least(1)] | None = None
    """After a push, older versions than the newest so many are removed; by default none
    is.  Those with a label, and those that a server has loaded, stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig(Checked):
    """Where and by what the pipeline is run."""

    output: str | None = None
    """Everything that a pipeline makes goes into this folder; by default
    `visionline-runs/<pipeline>`."""
    runner: Literal["beam", "local"] = "beam"
    """The components are run by TFX's Beam orchestrator, or by its LocalDagRunner (local)."""
    beam_args: tuple[str, ...] = ()
    """The Beam pipelines inside the components get these options, such as
    --direct_num_workers=2; see docs/beam.md."""
    metadata: str | None = None
    """Runs are recorded in this metadata store: a file, or mysql:// or postgresql://
    USER@HOST:PORT/DATABASE, see docs/metadata-stores.md; by default metadata.sqlite in the
    output folder."""

    mlflow: str | None = None
    """The figures of trainings go to this MLflow server, too, such as http://localhost:5000; see
    docs/training.md."""

    def check(self) -> None:
        if self.metadata is not None:
            Connection.parse(self.metadata)
        if self.mlflow is not None:
            require_installed("run.mlflow", "visionline[mlflow]", ["mlflow"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig(Checked):
    """Everything a run is told."""

    name: Name
    """The model is served under this name."""
    pipeline: Name | None = None
    """Runs of one pipeline share their cached steps; by default the name."""
    data: DataConfig
    schema: SchemaConfig = field(default_factory=SchemaConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)
    train: TrainConfig
    evaluate: EvaluateConfig
    infra_validation: InfraValidationConfig = field(default_factory=InfraValidationConfig)
    push: PushConfig = field(default_factory=PushConfig)
    run: RunConfig = field(default_factory=RunConfig)
    kubeflow: KubeflowConfig = field(default_factory=KubeflowConfig)

    def check(self) -> None:
        require(
            self.schema.frozen is None or Path(self.schema.frozen).is_file(),
            f"schema.frozen: no file {self.schema.frozen!r}; "
            "write one with `visionline schema --freeze FILE`.",
        )
        _check_train(self.train)

    @property
    def pipeline_name(self) -> str:
        return self.pipeline or self.name

    @property
    def output(self) -> Path:
        return Path(self.run.output or f"visionline-runs/{self.pipeline_name}").absolute()

    @property
    def store(self) -> Connection:
        """The metadata store of the run."""
        if self.run.metadata is not None:
            return Connection.parse(self.run.metadata)
        return Workspace(self.output).default_store

    @property
    def destination(self) -> Path:
        if self.push.destination:
            return Path(self.push.destination).absolute()
        return self.output / "serving"

    def check_folders(self) -> None:
        """Refuses folders that a run would take for patterns; see `common.paths`.

        Raises:
          ConfigError: nothing was made yet.
        """
        check_folder("run.output", self.run.output or self.output)
        check_folder("push.destination", self.push.destination or self.destination)

    @property
    def digest(self) -> str:
        return digest(dump(self))


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> PipelineConfig:
    """Reads a TOML file and lays flags over it.

    Args:
      path: the file, or None where flags say everything.
      overrides: values by dotted key, such as {"train.epochs": 3}.

    Returns:
      The config; a teacher's newest version is named in it, as it is now.

    Raises:
      ConfigError: for anything that cannot be used.
    """
    data = toml_file.read(path)
    toml_file.overlay(data, overrides)
    data.setdefault("name", _default_name(data.get("data")))
    try:
        config = parse(PipelineConfig, data)
    except MissingKeyError:
        _explain_missing(data)
        raise
    beam_args.check(config.run.beam_args)
    if config.train.distillation.model is None:
        return config
    from trainers.teacher import pinned

    return replace(config, train=pinned(config.train))


_REQUIRED = {
    ("data", "path"): "which images to use: --data FOLDER, or path in [data]",
    ("train", "framework"): "which framework trains: {frameworks}",
    ("train", "model"): "which model to train: --model NAME; `visionline models` lists them",
    ("evaluate", "min_accuracy"): (
        "how good a model must be to be pushed: --min-accuracy 0.9, or min_accuracy in "
        "[evaluate]; without a threshold there is no verdict, and nothing is pushed unjudged"
    ),
}


def _explain_missing(data: Mapping[str, Any]) -> None:
    each = " or ".join(f"--framework {name}" for name in frameworks())
    missing = [
        f"  {table}.{key}: say {why.format(frameworks=each)}"
        for (table, key), why in _REQUIRED.items()
        if key not in data.get(table, {})
    ]
    if missing:
        raise ConfigError("The config lacks what only you can say:\n" + "\n".join(missing))


def _default_name(data: Any) -> str:
    """Returns a model's name from the data folder's."""
    path = data.get("path", "") if isinstance(data, Mapping) else ""
    parts = [p for p in Path(str(path)).absolute().parts if "{" not in p]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(parts[-1]).stem).lstrip("-._")[:100]
    return name.rstrip("-.") or "model"


def _check_train(train: TrainConfig) -> None:
    get_framework(train.framework).require_installed()
    _check_own("train.input", train.input)
    if ":" in train.model:
        _check_own("train.model", train.model)
    elif train.model not in (names := get_framework(train.framework).model_names()):
        raise ConfigError(
            f"train.model: {train.framework} has no model {train.model!r}."
            f"{nearest(train.model, names)} `visionline models` lists them; your own model "
            "is named package.module:function."
        )
    if train.pretrained is not None:
        require(
            Path(train.pretrained).exists(),
            f"train.pretrained: expected a local file or folder, found nothing at "
            f"{train.pretrained!r}. Weights are never downloaded.",
        )


def _check_own(key: str, name: str) -> None:
    """Looks for the module of "package.module:function", if a name is one."""
    module, colon, _ = name.partition(":")
    if not colon:
        return
    try:
        spec = importlib.util.find_spec(module) if module else None
    except Exception as e:  # looking for a.b runs a/__init__.py
        spec = None
        require(
            isinstance(e, ModuleNotFoundError) and module.startswith(f"{e.name}."),
            f"{key}: cannot import {module!r} of {name!r}: {type(e).__name__}: {e}",
        )
    require(
        spec is not None,
        f"{key}: no module {module!r} to take {name!r} from. Expected "
        "package.module:function, importable from the folder you run visionline in.",
    )
    require(
        os.pathsep not in os.getcwd(),
        f"{key}: Python takes the {os.pathsep!r} in {os.getcwd()!r} for the end of a "
        f"folder's name, so {module!r} cannot be imported there. Rename the folder.",
    )
