"""The user's modules behind a model: found by reading them, whatever they import."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.recording.code_digest import training_code
from pipeline.recording.own_code import own_code, package_code
from trainers.config import TrainConfig

pytestmark = pytest.mark.quick

SOURCES = {
    "mine.py": "import json\nimport numpy\nimport nets.blocks\nfrom helper import size\n",
    "helper.py": "def later():\n    from nets import head\n",
    "nets/__init__.py": "raise RuntimeError('reading does not run it')\n",
    "nets/blocks.py": "from . import norm\nfrom .deep.er import x\nfrom ..outside import y\n",
    "nets/norm.py": "import mine\n",
    "nets/head.py": "this is no Python\n",
    "nets/deep/er.py": "",
    "nets/by_name.py": "",
    "unrelated.py": "",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_it_is_followed_through_the_users_own_files_alone(folder: Path) -> None:
    assert own_code("mine:make") == {
        "helper": folder / "helper.py",
        "mine": folder / "mine.py",
        "nets": folder / "nets/__init__.py",
        "nets.blocks": folder / "nets/blocks.py",
        "nets.by_name": folder / "nets/by_name.py",
        "nets.deep.er": folder / "nets/deep/er.py",
        "nets.head": folder / "nets/head.py",
        "nets.norm": folder / "nets/norm.py",
    }


def test_a_model_by_name_has_none() -> None:
    assert own_code("resnet18") == {}


@pytest.mark.usefixtures("heavy")
def test_an_installed_module_is_recorded_alone_and_counts_with_its_package() -> None:
    found = own_code("timm.models.resnet:resnet18")
    assert [*found] == ["timm", "timm.models", "timm.models.resnet"]
    whole = package_code("timm.models.resnet", installed=True)
    assert found.items() <= whole.items()
    assert "timm.layers.weight_init" in whole


def test_a_package_counts_as_a_whole(folder: Path) -> None:
    for name in ("nets/deep/.venv/x.py", "nets/env/y.py", "nets/env/pyvenv.cfg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    found = {path.relative_to(folder).as_posix() for path in own_code("nets.norm:make").values()}
    assert found == {name for name in SOURCES if name != "unrelated.py"}


@pytest.mark.parametrize("missing", ["nowhere:make", "nowhere.at.all:make", ":make", "mine.no:x"])
def test_what_is_not_there_is_left_out(folder: Path, missing: str) -> None:
    assert set(own_code(missing)) <= set(own_code("mine:make"))


@pytest.mark.parametrize("changed", ["mine.py", "helper.py", "nets/deep/er.py", "nets/by_name.py"])
def test_the_training_is_new_when_any_of_it_changes(folder: Path, changed: str) -> None:
    config = TrainConfig(framework="pytorch", model="mine:make")
    before = training_code(config)
    (folder / "unrelated.py").write_text("x = 1\n")
    assert training_code(config) == before
    with open(folder / changed, "a") as f:
        f.write("\n# another\n")
    assert training_code(config) != before
