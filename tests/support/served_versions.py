"""Versions in serving whose lineage is recorded."""

from __future__ import annotations

from pathlib import Path

from modelstore.artifact import ModelCard, PushManifest
from modelstore.versions import next_version, publish

NAME = "digits-keras"


def serve(root: Path, classes: tuple[str, ...] = ("a", "b"), name: str = NAME) -> Path:
    """Pushes a model's files into the next version, as the Pusher does."""
    source = root / "source"
    source.mkdir(exist_ok=True)
    (source / "weights").write_text(f"of version {next_version(root / 'serving' / name)}")
    ModelCard(
        framework="keras",
        architecture="small_cnn",
        parameter_count=1,
        image_size=(8, 8),
        class_names=classes,
        config={},
        seed=0,
        accelerator="cpu",
        versions={},
        dataset_digest="d",
        transform_digest="t",
        metrics={},
        epochs_run=1,
        best_epoch=1,
        parity={},
        parity_tolerance=0.001,
    ).write(source)
    folder = root / "serving" / name

    def manifest(version: int) -> PushManifest:
        return PushManifest(
            name=name,
            version=version,
            pushed_at="2026-01-01T00:00:00+00:00",
            framework="keras",
            architecture="small_cnn",
            model_uri=f"elsewhere/{version}",
            run_id="r",
            mlmd={},
        )

    return folder / str(publish(source, folder, manifest).version)
