"""From names to networks: what is built, and what is refused with which words."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.torch_backend import backend
from trainers.torch_backend.models import Model, build_model

torch.set_num_threads(1)  # Tiny networks: more threads only wait for each other.


def model_of(name: str, size: int = 32, classes: int = 10, **config: Any) -> Model:
    return build_model(
        TrainConfig(framework="pytorch", model=name, **config),
        num_classes=classes,
        image_size=(size, size),
    )


# What a user may write.


def linear(*, num_classes: int, image_size: tuple[int, int], scale: float = 1.0) -> nn.Module:
    pixels = 3 * image_size[0] * image_size[1]
    layer = nn.Linear(pixels, num_classes)
    nn.init.constant_(layer.weight, scale)
    return nn.Sequential(nn.Flatten(), layer)


def not_a_module(*, num_classes: int, image_size: tuple[int, int]) -> object:
    return "resnet18"


def raises(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    raise RuntimeError("no such luck\nsecond line")


def wrong_shape(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    return linear(num_classes=num_classes + 1, image_size=image_size)


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [("small_cnn", 10, 94_762), ("resnet20", 10, 272_474), ("resnet20", 4, 272_474 - 6 * 65)],
)
def test_parameters_of_the_built_in_networks(name: str, classes: int, expected: int) -> None:
    assert backend.count_parameters(name, num_classes=classes, image_size=(32, 32)) == expected
    net = model_of(name, classes=classes).net
    assert sum(p.numel() for p in net.parameters()) == expected
    first = next(net.parameters())
    he_normal = (2 / (3 * 9)) ** 0.5
    assert float(first.detach().std()) == pytest.approx(he_normal, rel=0.15)


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_parameters_of_timm_models_are_counted_as_timm_does(name: str) -> None:
    count = backend.count_parameters(name, num_classes=1000, image_size=(224, 224))
    with torch.device("meta"):
        expected = sum(p.numel() for p in timm.create_model(name).parameters())
    assert count == expected


def test_a_timm_model_takes_the_image_size() -> None:
    net = model_of("test_vit", size=48).net
    assert net(torch.zeros(1, 3, 48, 48)).shape == (1, 10)


def test_model_args_reach_the_builder() -> None:
    assert model_of("test_vit", size=32, model_args={"depth": 2}).net.blocks[1] is not None
    own = model_of(f"{__name__}:linear", model_args={"scale": 0.5}).net
    assert float(own[1].weight.detach().max()) == 0.5


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("resnet81", {}, "no model 'resnet81'. Did you mean 'resnet18'?"),
        ("vit_tiny_patch16_224.no_such_tag", {}, "Invalid pretrained tag"),
        ("small_cnn", {"model_args": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ("resnet18", {"model_args": {"pretrained": True}}, "nothing is downloaded"),
        ("resnet18", {"model_args": {"num_classes": 3}}, "comes from the data"),
        ("resnet18", {"model_args": {"in_chans": 1}}, "cannot take 32×32 images"),
        ("no_such_module:f", {}, "no module 'no_such_module'"),
        (f"{__name__}:liner", {}, "no function 'liner'. Did you mean 'linear'?"),
        (f"{__name__}:not_a_module", {}, "to return a torch.nn.Module, got str"),
        (f"{__name__}:raises", {}, "RuntimeError: no such luck"),
        (f"{__name__}:wrong_shape", {}, "logits of shape (2, 10), got (2, 11)"),
    ],
)
def test_refused(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        model_of(name, **config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "size"), [("small_cnn", 7), ("test_vit", 10)])
def test_too_small_an_image(name: str, size: int) -> None:
    with pytest.raises(ConfigError, match=f"{size}×{size} images"):
        model_of(name, size=size)


def checkpoint(path: Path, classes: int = 10) -> dict[str, torch.Tensor]:
    """The weights of a tiny timm network, written in the format of the suffix."""
    state = timm.create_model("test_resnet", num_classes=classes).state_dict()
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    return state


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("folder", [False, True])
def test_pretrained_weights_are_loaded(tmp_path: Path, suffix: str, folder: bool) -> None:
    file = tmp_path / f"weights{suffix}"
    state = checkpoint(file)
    model = model_of("test_resnet", pretrained=str(tmp_path if folder else file))
    for key, value in model.net.state_dict().items():
        np.testing.assert_array_equal(value, state[key])
    assert model.mean == timm.models.get_pretrained_cfg("test_resnet").mean
    assert model_of("test_resnet").mean == (0.5, 0.5, 0.5)


def test_a_folder_says_how_its_weights_see_colours(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model.safetensors")
    config = {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = model_of("test_resnet", pretrained=str(tmp_path))
    assert (model.mean, model.std) == ((0.1, 0.2, 0.3), (1, 1, 1))


def test_another_head_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = checkpoint(tmp_path / "a.pth", classes=1000)
    with caplog.at_level(logging.INFO):
        net = model_of("test_resnet", pretrained=str(tmp_path / "a.pth")).net
    assert "for 1000 classes, not 10" in caplog.text
    assert net.fc.weight.shape[0] == 10
    np.testing.assert_array_equal(net.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_position_embeddings_are_resized_to_the_image(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    model = model_of("test_vit", size=64, pretrained=str(tmp_path / "vit.pth"))
    assert model.net(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_pretrained_works_for_the_built_in_networks(tmp_path: Path) -> None:
    state = model_of("small_cnn", classes=3).net.state_dict()
    torch.save(state, tmp_path / "w.pt")
    net = model_of("small_cnn", pretrained=str(tmp_path / "w.pt")).net
    np.testing.assert_array_equal(net.state_dict()["0.weight"], state["0.weight"])


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("run from a checkpoint",))


def test_pretrained_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def message(path: Path, name: str = "test_resnet") -> str:
        with pytest.raises(ConfigError) as error:
            model_of(name, pretrained=str(path))
        return str(error.value)

    checkpoint(tmp_path / "a.pth")
    assert "no file or folder" in message(tmp_path / "none.pth")
    wrong_model = message(tmp_path / "a.pth", "resnet20")
    assert "do not fit the model" in wrong_model
    assert "107 missing (0.weight, 1.weight, 1.bias, …)" in wrong_model
    assert "unexpected" in wrong_model
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"w": Evil()}))
    assert "cannot be read as weights" in message(tmp_path / "evil.pth")
    assert "run from a checkpoint" not in capsys.readouterr().out
    assert "several checkpoints" in message(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no .safetensors" in message(tmp_path / "empty")
    (tmp_path / "weights.h5").touch()
    assert "expected a file ending in" in message(tmp_path / "weights.h5")
