"""What is evaluated, exported and served: uint8 images in, scores out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.contract import Floats, Images

PROGRAM = "model.pt2"
"""The exported program's file in the native model."""

Colours = tuple[float, float, float]

_PIXELS_AT_ONCE = 2**21
"""Predictions go through the network in batches of about this many pixels."""


class Scorer(nn.Module):
    """Images in, scores out: what is evaluated, exported and served."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        mean: Colours,
        std: Colours,
        scores: Callable[[Tensor], Tensor],
        *,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        self._scores = scores
        self._mirrored = mirrored
        self.net = net
        self.register_buffer("mean", 255 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std), persistent=False)

    def forward(self, images_NHW3: Tensor) -> Tensor:
        """uint8 N×H×W×3 to the task's scores, float32 N×C."""
        images_N3HW = self.normalise(images_NHW3.to(torch.float32))
        scores_NC = self._scores(self.net(images_N3HW))
        if self._mirrored:
            scores_NC = (scores_NC + self._scores(self.net(images_N3HW.flip(3)))) / 2
        return scores_NC

    def normalise(self, images_NHW3: Tensor) -> Tensor:
        """Floats from 0 to 255, NHW3, as the network wants them, N3HW."""
        return ((images_NHW3 - self.mean) / self.std).permute(0, 3, 1, 2)


class ProgramPredictor:
    """The native model read back (`trainers.contract.Predictor`), on the CPU."""

    def __init__(self, directory: Path) -> None:
        self._program = torch.export.load(directory / PROGRAM).module()

    def predict(self, images_NHW3: Images) -> Floats:
        return predict(self._program, images_NHW3, torch.device("cpu"))


def predict(scorer: nn.Module, images_NHW3: Images, device: torch.device) -> Floats:
    """Probabilities, float32 N×C, with bounded memory whatever N."""
    _, height, width, _ = images_NHW3.shape
    if not len(images_NHW3):  # Not every network takes an empty batch.
        return predict(scorer, np.zeros((1, height, width, 3), np.uint8), device)[:0]
    step = min(512, max(1, _PIXELS_AT_ONCE // (height * width)))
    with torch.inference_mode():
        scores = [
            scorer(to_device(images_NHW3[i : i + step], device)).cpu()
            for i in range(0, len(images_NHW3), step)
        ]
    return np.asarray(torch.cat(scores).numpy(), dtype=np.float32)


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy, since shards are read-only and views may run backwards."""
    return torch.tensor(np.ascontiguousarray(array), device=device)


def export_program(scorer: Scorer, image_size: tuple[int, int]) -> torch.export.ExportedProgram:
    """The scorer as a graph of its own, for any batch size."""
    example = torch.zeros(2, *image_size, 3, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(
            scorer, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
