"""Every pool of a training has the threads that its process may use, and no more."""

from __future__ import annotations

import pytest

from common.process.cpus import available_cpus
from trainers.config import TrainConfig
from trainers.contract import load_backend
from trainers.frameworks import frameworks, get_framework
from trainers.inputs import open_splits

POOLS = {
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
}


@pytest.mark.parametrize("framework", frameworks())
def test_the_environment_bounds_every_pool(framework):
    for threads, expected in ((3, 3), (0, available_cpus())):
        variables = get_framework(framework).variables(threads)
        assert {name: variables[name] for name in POOLS} == dict.fromkeys(POOLS, str(expected))
        assert variables["OMP_WAIT_POLICY"] == "PASSIVE"


def test_pytorch_takes_the_quota_for_an_answer(monkeypatch):
    backend = load_backend("pytorch")
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(backend, "available_cpus", lambda: 1)
    backend.configure(threads=0, seed=0)
    assert torch.get_num_threads() == 1
    backend.configure(threads=before, seed=0)


@pytest.mark.parametrize(
    ("accelerator", "threads", "decoding"), [("cpu", 4, 1), ("A GPU", 4, 4), ("A GPU", 0, None)]
)
def test_one_thread_decodes_beside_those_that_compute(
    monkeypatch, tmp_path, accelerator, threads, decoding
):
    from trainers import stream

    monkeypatch.setattr(stream, "Stream", lambda examples, *, threads, **_: threads)
    config = TrainConfig(framework="keras", model="m", input="stream", threads=threads)
    opened = open_splits(
        config,
        tmp_path,
        tmp_path,
        class_names=(),
        transform_graph=tmp_path,
        image_size=(8, 8),
        accelerator=accelerator,
    )
    assert opened == (decoding or available_cpus(),) * 2
