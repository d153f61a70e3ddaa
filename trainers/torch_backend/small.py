"""The two built-in networks; the Keras backend has the same, layer by layer."""

from __future__ import annotations

from torch import Tensor, nn


def small_cnn(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """Three blocks of convolution, BatchNorm, ReLU and pooling; for small images."""
    layers: list[nn.Module] = []
    width = 3
    for filters in (32, 64, 128):
        layers += [*_conv_norm(width, filters), nn.ReLU(), nn.MaxPool2d(2)]
        width = filters
    return _initialised(nn.Sequential(*layers, *_head(width, num_classes)))


def resnet20(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """The CIFAR network of He et al. 2015 (arXiv:1512.03385, section 4.2).

    Shortcuts that change the shape are projections (option B of the paper).
    """
    layers: list[nn.Module] = [*_conv_norm(3, 16), nn.ReLU()]
    width = 16
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(3):
            layers.append(BasicBlock(width, filters, stride if block == 0 else 1))
            width = filters
    return _initialised(nn.Sequential(*layers, *_head(width, num_classes)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, width: int, filters: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_conv_norm(width, filters, stride), nn.ReLU(), *_conv_norm(filters, filters)
        )
        same = stride == 1 and width == filters
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(*_conv_norm(width, filters, stride, kernel=1))
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return nn.functional.relu(self.residual(x_NCHW) + self.shortcut(x_NCHW))


def _conv_norm(width: int, filters: int, stride: int = 1, kernel: int = 3) -> list[nn.Module]:
    return [
        nn.Conv2d(width, filters, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(filters, eps=1e-5, momentum=0.1),
    ]


def _head(width: int, num_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)]


def _initialised(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return model
