"""The PyTorch backend: the functions of `trainers.contract.Backend`.

Training imports neither TensorFlow nor JAX; only an export does.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import random
from pathlib import Path

import numpy as np
import torch

from common.process.cpus import available_cpus
from trainers.config import TrainConfig
from trainers.torch_backend import models
from trainers.torch_backend.learner import TorchLearner, parameter_count
from trainers.torch_backend.scorer import ProgramPredictor

# It warns at import that it cannot count Triton's operations; nobody asked.
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


def configure(*, threads: int, seed: int) -> str:
    torch.set_num_threads(threads or available_cpus())
    with contextlib.suppress(RuntimeError):  # It can be set once in a process.
        torch.set_num_interop_threads(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if not torch.cuda.is_available():
        return "cpu"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms(True, warn_only=True), which imports the compiler.
    torch.set_deterministic_debug_mode("warn")
    return torch.cuda.get_device_name()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "timm")}


def build(config: TrainConfig, *, num_classes: int, image_size: tuple[int, int]) -> TorchLearner:
    model = models.build_model(config, num_classes=num_classes, image_size=image_size)
    return TorchLearner(
        config,
        model,
        num_classes=num_classes,
        image_size=image_size,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )


def count_parameters(model: str, *, num_classes: int, image_size: tuple[int, int]) -> int:
    with torch.device("meta"):  # Shapes alone: no memory, no initialisation.
        net = models.build_net(model, {}, num_classes=num_classes, image_size=image_size)
    return parameter_count(net)


def load(directory: Path) -> ProgramPredictor:
    return ProgramPredictor(directory)
