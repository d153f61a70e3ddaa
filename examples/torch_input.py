"""A PyTorch data set of your own: `--set train.input=torch_input:hues`, in either framework.

A function gets the train split (`trainers.own_input.Given`) and whatever
[train.input_args] says, once for each epoch.  It gives images of the same size,
0 to 255, and labels; visionline adds no augmentation unless
`train.augment_input` asks for it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import adjust_hue

from trainers.own_input import Given


def hues(split: Given, most: float = 0.1) -> Dataset[tuple[Tensor, int]]:
    """Single images: visionline draws the order and makes batches.

    What takes long is better returned as `DataLoader(Hues(split, most), split.batch_size,
    shuffle=True, num_workers=2)`.
    """
    return Hues(split, most)


class Hues(Dataset[tuple[Tensor, int]]):
    """Images with their hue moved by at most a tenth."""

    def __init__(self, split: Given, most: float) -> None:
        self.split, self.most = split, most

    def __len__(self) -> int:
        return len(self.split.labels_N)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        # Drawn from seed, epoch and image: equal seeds make equal trainings.
        rng = np.random.default_rng([self.split.seed, self.split.epoch, number])
        image_3HW = torch.from_numpy(self.split.images_NHW3[number].copy()).permute(2, 0, 1)
        hue = rng.uniform(-self.most, self.most)
        return adjust_hue(image_3HW, hue), int(self.split.labels_N[number])
