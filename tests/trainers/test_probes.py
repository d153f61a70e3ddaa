"""Golden images: drawn unless real ones are asked for; what older versions carry still counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from conftest import Demo

from common.config.strict import parse
from common.errors import ConfigError
from common.files import checksums
from modelstore.artifact import GOLDEN, MODEL_ONNX, ModelCard, PushManifest
from serving.config import ModelConfig
from serving.models.loaded import LoadedVersion
from trainers.config import TrainConfig
from trainers.probes import drawn


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (16, 24), (224, 224)])
def test_drawn_images_are_the_same_every_time_and_no_two_alike(size: tuple[int, int]) -> None:
    images = drawn(16, size)
    assert images.shape == (16, *size, 3) and images.dtype == np.uint8
    assert np.array_equal(images, drawn(16, size))
    assert len(np.unique(images.reshape(16, -1), axis=0)) == 16
    if size > (8, 8):  # flat images would leave most of a network idle
        assert (images.reshape(16, -1, 3).std(axis=1).max(axis=1) > 5).all()


def test_real_images_only_on_purpose() -> None:
    assert TrainConfig(framework="keras", model="small_cnn").golden == "drawn"
    assert TrainConfig(framework="keras", model="small_cnn", golden="validation").golden
    with pytest.raises(ConfigError, match="golden"):
        parse(TrainConfig, {"framework": "keras", "model": "small_cnn", "golden": "real"})


def test_a_version_of_before_with_real_images_is_served(demo: Demo, tmp_path: Path) -> None:
    """Its card does not say what its golden images are."""
    version = tmp_path / "digits-keras" / "1"
    shutil.copytree(demo.serving / "digits-keras" / "1", version)
    card = json.loads((version / "model.json").read_text())
    del card["golden"], card["config"]["golden"]
    (version / "model.json").write_text(json.dumps(card))
    assert ModelCard.read(version).golden == "validation"
    (shard,) = demo.workspace.glob("artifacts/ArrayGen/arrays/*/Split-val/images_NHW3.npy")
    real = np.load(shard)[:7]
    session = onnxruntime.InferenceSession(str(version / MODEL_ONNX))
    (scores,) = session.run(["scores"], {"images": real})
    np.savez(version / GOLDEN, images_NHW3=real, scores_NC=scores)
    manifest = json.loads((version / "manifest.json").read_text())
    files = {k: v for k, v in checksums(version).items() if k != "manifest.json"}
    (version / "manifest.json").write_text(json.dumps(manifest | {"checksums": files}))
    assert PushManifest.read(version).checksums == files
    assert set(LoadedVersion(version, ModelConfig(), 1, max_pixels=10**6).parity) == {
        "onnx",
        "tensorflow",
    }
