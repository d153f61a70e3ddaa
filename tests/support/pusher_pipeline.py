"""The Pusher's driver and executor, run as an orchestrator does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.types import standard_artifacts

from components.pusher import PusherDriver, PusherExecutor
from modelstore.artifact import SERVING_FORMAT, ModelCard


class Pipeline:
    """Runs driver and executor of a push as an orchestrator does, without a store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "serving" / "m"
        self._artifacts = 0

    def push(
        self, model: str, keep: int | None = None, blessed: int = 1
    ) -> tuple[int, dict[str, int | str]]:
        """Pushes a model by its name.

        Returns:
          The version that the driver made part of the cache key, and what is recorded of
          the pushed model.
        """
        inputs = {
            "model": [self._model(model)],
            "model_blessing": [self._artifact(standard_artifacts.ModelBlessing, "blessing")],
            "evaluation": [self._artifact(standard_artifacts.ModelEvaluation, "evaluation")],
        }
        inputs["model_blessing"][0].set_int_custom_property("blessed", blessed)
        pushed = self._artifact(standard_artifacts.PushedModel, "pushed")
        properties: dict[str, Any] = {"destination": str(self.root / "serving"), "name": "m"}
        if keep is not None:
            properties["keep_versions"] = keep
        info = ExecutionInfo(input_dict=inputs, output_dict={}, exec_properties=properties)
        driven = PusherDriver(None).run(info).exec_properties["version"].int_value
        context = BaseExecutor.Context(tmp_dir=str(self.root / "tmp"), unique_id="7")
        PusherExecutor(context).Do(inputs, {"pushed_model": [pushed]}, properties)
        recorded = pushed.mlmd_artifact.custom_properties
        return driven, {k: v.string_value or v.int_value for k, v in recorded.items()}

    def _model(self, name: str) -> Any:
        model = self._artifact(standard_artifacts.Model, name)
        directory = Path(model.uri) / SERVING_FORMAT
        if not directory.exists():
            directory.mkdir(parents=True)
            (directory / "saved_model.pb").write_text(name)
            words = ("framework", "architecture", "accelerator")
            digests = ("dataset_digest", "transform_digest")
            numbers = ("parameter_count", "seed", "epochs_run", "best_epoch")
            facts: dict[str, Any] = {
                **dict.fromkeys((*words, *digests), "x"),
                **dict.fromkeys(numbers, 1),
                **{key: {} for key in ("config", "versions", "metrics", "parity")},
            }
            ModelCard(
                **facts,
                image_size=(8, 8),
                class_names=("a", "b"),
                parity_tolerance=1e-4,
            ).write(directory)
        return model

    def _artifact(self, kind: Any, name: str) -> Any:
        artifact = kind()
        artifact.uri = str(self.root / "artifacts" / name)
        self._artifacts += 1
        artifact.id = self._artifacts
        return artifact
