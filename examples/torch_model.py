"""A PyTorch model of your own: `--framework pytorch --model torch_model:separable`.

A builder gets the number of classes, the image size (height, width), and
whatever [train.model_args] says.  Its module takes images scaled to -1..1,
N×3×H×W, and gives logits, N×C: no softmax at the end.  Its `forward` must be
one that `torch.export` can follow: no branches on the values of tensors.
"""

from __future__ import annotations

from torch import Tensor, nn


def separable(
    num_classes: int, image_size: tuple[int, int], width: int = 32, dropout: float = 0.2
) -> nn.Module:
    """Three separable convolutions, each of twice the width, at half the size."""
    return Separable(num_classes, width, dropout)


class Separable(nn.Module):
    def __init__(self, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        before = 3
        for filters in (width, 2 * width, 4 * width):
            blocks += [
                nn.Conv2d(before, before, 3, stride=2, padding=1, groups=before, bias=False),
                nn.Conv2d(before, filters, 1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
            before = filters
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(before, num_classes)

    def forward(self, images_N3HW: Tensor) -> Tensor:
        features_NC = self.blocks(images_N3HW).mean(dim=(2, 3))
        return self.logits(self.dropout(features_NC))
