"""What TensorFlow and PyTorch read data with, each in trainings of both."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from softmax_regression import bright_and_dark, write_split

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.contract import load_backend
from trainers.data import Split
from trainers.frameworks import frameworks
from trainers.job import TrainJob, fit
from trainers.own_input import OwnInput

pytestmark = pytest.mark.pipelines

SPLIT = bright_and_dark(20, size=8)
ONES = np.ones(2, np.float32)
LOADERS = """
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

def arrays(split):
    return torch.from_numpy(split.images_NHW3.copy()), torch.from_numpy(split.labels_N)

def loader(split, workers=0):
    data = TensorDataset(*arrays(split))
    return DataLoader(data, split.batch_size, num_workers=workers)

class Iterable(IterableDataset):
    def __init__(self, split):
        self.split = split

    def __iter__(self):
        return iter(zip(*arrays(self.split)))

def iterable(split):
    return Iterable(split)

class Failing(TensorDataset):
    def __getitem__(self, number):
        raise RuntimeError("no such image")

def failing(split):
    return DataLoader(Failing(*arrays(split)), split.batch_size, num_workers=1)
"""


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_loaders.py").write_text(LOADERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), str(ROOT / "examples"), *sys.path])
        yield


def config_of(name: str, framework: str = "keras", **values) -> TrainConfig:
    given = {"batch_size": 8, "epochs": 2, "threads": 1, **values}
    return TrainConfig(framework=framework, model="small_cnn", input=name, **given)


def epoch_of(name: str, epoch: int = 1, after: int = 0, **values):
    config = config_of(name, **values)
    source = OwnInput(config, SPLIT, ("dark", "bright"))
    made = [*source.batches(config, ONES, epoch=epoch, after=after)]
    assert len(made) + after == source.steps(config)
    return [pair for b in made for pair in pairs(Split(b.images_NHW3, b.labels_N))]


def pairs(split: Split) -> list[tuple[bytes, int]]:
    return [(i.tobytes(), int(n)) for i, n in zip(split.images_NHW3, split.labels_N, strict=True)]


@pytest.mark.parametrize("name", ["own_loaders:loader", "own_loaders:iterable"])
def test_loaders_give_what_they_read_in_their_order(name):
    assert epoch_of(name) == pairs(SPLIT)
    assert epoch_of(name, after=2) == pairs(SPLIT)[16:]


def test_an_error_in_a_loader_s_process_is_told_with_its_place():
    with pytest.raises(ConfigError) as e:
        OwnInput(config_of("own_loaders:failing"), SPLIT, ("dark", "bright"))
    line = LOADERS[: LOADERS.index("no such image")].count("\n") + 1
    expected = (
        f"own_loaders:failing raised RuntimeError: no such image (own_loaders.py, line {line})."
    )
    assert str(e.value) == f"train.input: {expected}"


@pytest.mark.parametrize("name", ["tf_input:hues", "torch_input:hues"])
def test_the_examples_move_hues_alike_for_equal_seeds(name):
    still = epoch_of(name, input_args={"most": 0.0})
    assert sorted(label for _, label in still) == [0] * 10 + [1] * 10
    of = dict(pairs(SPLIT))
    near = [min(of, key=lambda known: distance(known, image)) for image, _ in still]
    assert sorted(near) == sorted(of) and [of[image] for image in near] == [n for _, n in still]
    moved = epoch_of(name, input_args={"most": 0.4})
    assert moved == epoch_of(name, input_args={"most": 0.4})
    assert moved != still and moved != epoch_of(name, epoch=2, input_args={"most": 0.4})
    assert epoch_of(name, after=1) == epoch_of(name)[8:]


def distance(one: bytes, other: bytes) -> int:
    a, b = (np.frombuffer(each, np.uint8).astype(int) for each in (one, other))
    return int(np.abs(a - b).sum())


@pytest.mark.parametrize("framework", frameworks())
@pytest.mark.parametrize("name", ["tf_input:hues", "torch_input:hues"])
def test_each_kind_trains_in_each_framework(framework: str, name: str, tmp_path: Path):
    for split in ("train", "val"):
        write_split(tmp_path / split, SPLIT)
    (tmp_path / "run").mkdir()
    job = TrainJob(
        config=config_of(name, framework),
        train_split=str(tmp_path / "train"),
        val_split=str(tmp_path / "val"),
        class_names=("dark", "bright"),
        transform_graph="",
        model_dir=str(tmp_path / "model"),
        run_dir=str(tmp_path / "run"),
        dataset_digest="",
        transform_digest="",
    )
    fitted = fit(load_backend(framework), job)
    assert [e.epoch for e in fitted.epochs] == [1, 2]
    assert fitted.compared_NHW3.shape == (16, 8, 8, 3)
