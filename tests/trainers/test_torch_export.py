"""Saved, read back, as TensorFlow and as ONNX: always the same answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from batch_of import batch_of
from torch import Tensor, nn
from torch.nn import functional as F
from without import run_without

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.contract import Floats, Images
from trainers.torch_backend import backend
from trainers.torch_backend.learner import TorchLearner
from trainers.torch_backend.scorer import Scorer, export_program

SIZE = 32


def images_of(count: int) -> Images:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module", params=["test_efficientnet", "test_vit"])
def trained(request: Any) -> TorchLearner:
    """A model after two steps of training."""
    backend.configure(threads=1, seed=0)
    config = TrainConfig(framework="pytorch", model=request.param)
    learner = backend.build(config, num_classes=4, image_size=(SIZE, SIZE))
    batch = batch_of(images_of(8), np.arange(8) % 4)
    for _ in range(2):
        learner.train_step(batch, 1e-2)
    return learner


@pytest.fixture(scope="module")
def saved(trained: TorchLearner, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Floats]:
    """Where it was saved, and its answers to `images_of(9)`."""
    directory = tmp_path_factory.mktemp("native")
    trained.save(directory)
    return directory, trained.predict(images_of(9))


def test_native(saved: tuple[Path, Floats]) -> None:
    directory, expected_NC = saved
    assert sorted(p.name for p in directory.iterdir()) == [
        "model.pt2",
        "spec.json",
        "state_dict.pt",
    ]
    spec = json.loads((directory / "spec.json").read_text())
    assert (spec["num_classes"], spec["image_size"]) == (4, [SIZE, SIZE])
    assert np.ptp(expected_NC, axis=0).max() > 1e-3  # It answers, not a constant.
    predictor = backend.load(directory)
    for count in (9, 1, 0):
        scores_NC = predictor.predict(images_of(9)[:count])
        np.testing.assert_allclose(scores_NC, expected_NC[:count], atol=1e-5)


def test_a_native_model_trains_on(saved: tuple[Path, Floats]) -> None:
    directory, expected_NC = saved
    model = json.loads((directory / "spec.json").read_text())["model"]
    config = TrainConfig(framework="pytorch", model=model, pretrained=str(directory))
    again = backend.build(config, num_classes=4, image_size=(SIZE, SIZE))
    np.testing.assert_allclose(again.predict(images_of(9)), expected_NC, atol=1e-6)


def test_onnx(trained: TorchLearner, tmp_path: Path) -> None:
    expected_NC = trained.predict(images_of(9))
    trained.to_onnx(tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (image,), (score,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape[1:]) == ("images", "tensor(uint8)", [SIZE, SIZE, 3])
    assert (score.name, score.shape[1:]) == ("scores", [4])
    for count in (9, 1):
        (scores_NC,) = session.run(None, {"images": images_of(9)[:count]})
        np.testing.assert_allclose(scores_NC, expected_NC[:count], atol=1e-5)


def test_tensorflow_alone(trained: TorchLearner, tmp_path: Path) -> None:
    import tensorflow as tf

    expected_NC, module = trained.predict(images_of(9)), trained.to_tensorflow()
    assert sum(v.shape.num_elements() for v in module.variables) > 1000
    tf.saved_model.save(module, str(tmp_path / "saved"))
    # The weights are variables, in their own file, not constants of the graph.
    assert (tmp_path / "saved" / "saved_model.pb").stat().st_size < 500_000
    np.savez(tmp_path / "golden.npz", images=images_of(9), scores=expected_NC)
    run_without(
        {"torch", "jax", "jaxlib", "torchax", "timm"},
        "import numpy as np, tensorflow as tf\n"
        "folder = sys.argv[1]\n"
        "golden = np.load(folder + '/golden.npz')\n"
        "model = tf.saved_model.load(folder + '/saved')\n"
        "for count in (9, 3, 1, 0):\n"
        "    scores = model(tf.constant(golden['images'][:count])).numpy()\n"
        "    np.testing.assert_allclose(scores, golden['scores'][:count], atol=1e-5)\n",
        tmp_path,
    )


def test_training_needs_neither_tensorflow_nor_jax(tmp_path: Path) -> None:
    run_without(
        {"tensorflow", "jax", "jaxlib", "torchax", "keras", "tfx", "apache_beam"},
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from trainers.contract import load_backend\n"
        "from trainers.config import TrainConfig\n"
        "from trainers.contract import Batch\n"
        "from trainers.data import targets\n"
        "backend = load_backend('pytorch')\n"
        "backend.configure(threads=1, seed=0)\n"
        "images = np.zeros((2, 32, 32, 3), np.uint8)\n"
        "labels = np.array([0, 1])\n"
        "batch = Batch(images, labels, targets(labels, 2, 0.0), np.ones(2, np.float32), None)\n"
        "config = TrainConfig(framework='pytorch', model='test_resnet')\n"
        "learner = backend.build(config, num_classes=2, image_size=(32, 32))\n"
        "learner.train_step(batch, 1e-3)\n"
        "learner.save(Path(sys.argv[1]))\n"
        "backend.load(Path(sys.argv[1])).predict(images)\n",
        tmp_path,
    )


class Applied(nn.Module):
    """What a function makes of images, as one vector each."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x_N3HW: Tensor) -> Tensor:
        return self.function(x_N3HW).flatten(1)


def scorer_of(net: nn.Module) -> Scorer:
    return Scorer(net, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), lambda logits_NC: logits_NC).eval()


def interpreted_and_expected(net: nn.Module, size: tuple[int, int] = (11, 13)) -> tuple[Any, Any]:
    """What TensorFlow's operators make of images, and what PyTorch's do."""
    from trainers.torch_backend.tensorflow_graph import interpreted

    images = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    scorer = scorer_of(net)
    with torch.no_grad():
        expected = scorer(torch.from_numpy(images)).numpy()
    return interpreted(export_program(scorer, size))(images).numpy(), expected


@pytest.mark.parametrize(
    "case",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1, "bias": False},
        {"kernel_size": 4, "padding": 2, "stride": 2},
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 6},
        {"kernel_size": (5, 3), "padding": (2, 1), "dilation": 2, "groups": 6},
        {"kernel_size": 3, "padding": 1, "groups": 3},
        {"kernel_size": 3, "padding": 1, "groups": 6, "out": 12},
        {"kernel_size": 1, "padding": 1},
    ],
    ids=str,
)
def test_convolutions_are_torchs(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    case = dict(case)
    layers = nn.Conv2d(3, 6, 1), nn.Conv2d(6, case.pop("out", 6), **case), nn.Flatten()
    result, expected = interpreted_and_expected(nn.Sequential(*layers))
    np.testing.assert_allclose(result, expected, atol=2e-5)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max pool, padded": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pool, ceil": lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True),
    "max pool, dilated": lambda x: F.max_pool2d(x, 3, 1, 1, dilation=2),
    "average pool, padded": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average pool, padding not counted": lambda x: F.avg_pool2d(
        x, 3, 2, 1, count_include_pad=False
    ),
    "average pool, ceil": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "bilinear": lambda x: F.interpolate(x, (7, 20), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, (7, 20), mode="bilinear", align_corners=True),
    "bicubic, antialiased": lambda x: F.interpolate(x, (5, 6), mode="bicubic", antialias=True),
    "group norm": lambda x: F.group_norm(torch.cat([x, x * x], 1), 2),
    "layer norm, channels last": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (3,)).permute(
        0, 3, 1, 2
    ),
    "layer norm of maps": lambda x: F.layer_norm(x, (3, 11, 13)),
    "pad": lambda x: F.pad(x, (1, 2, 3, 0), value=2.0),
    "pad of rows and channels": lambda x: F.pad(x.flatten(2), (1, 2, 0, 1)),
    "attention": lambda x: F.scaled_dot_product_attention(x, x + 1, x * 2),
    "attention, masked": lambda x: F.scaled_dot_product_attention(
        x, x, x, torch.eye(11, dtype=torch.bool)
    ),
    "roll, flip": lambda x: torch.roll(x, (2, -1), (2, 3)).flip(2),
    "unfold": lambda x: x.unfold(2, 3, 2),
    "split, cat of channels": lambda x: torch.cat(x.split([1, 2], 1)[::-1], 1),
    "cat of rows": lambda x: torch.cat([x, x.sigmoid()], 2),
    "slices": lambda x: x[:, 1:, ::2, -4:] + x[:, :1, ::2, :4],
    "assigned slice": lambda x: torch.slice_scatter(x, x[:, :, :4] * 2, 2, 3, 7),
    "index": lambda x: x[:, :, torch.tensor([[0, -1], [2, 3]]), torch.tensor([[1, 1], [0, -2]])],
    "index of one": lambda x: x[:, torch.tensor([2, 0, 0])],
    "gather": lambda x: x.gather(3, torch.argmax(x, 3, keepdim=True)),
    "mean of channels": lambda x: x * x.mean(1, keepdim=True),
    "mean of all but the batch": lambda x: x.mean((1, 2, 3)).unsqueeze(1),
    "largest": lambda x: x.amax((2, 3)) - x.max(1)[0].amax((1, 2))[:, None],
    "variance": lambda x: x.var((2, 3)) + x.var((2, 3), unbiased=False),
    "norm": lambda x: F.normalize(x, dim=1),
    "broadcast of a row": lambda x: x + torch.arange(13.0) * torch.arange(11.0)[:, None],
    "broadcast of channels": lambda x: x * torch.tensor([1.0, -2.0, 3.0])[:, None, None],
    "five dimensions": lambda x: x[:, :, None] * x.new_ones(2, 1, 1),
    "numbers and types": lambda x: (x > 0).float() * 2 + (x.long() % 3) / 2 - (x.long() // 2),
    "cumulated": lambda x: (x > 0).cumsum(3) + x.cumsum(2),
    "where, clamp": lambda x: torch.where(x > 0, x.clamp(max=1), 0.5).pow(2),
    "einsum": lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
    "softmax of rows": lambda x: torch.softmax(x, 2) + torch.log_softmax(x, 1),
    "activations": lambda x: sum(
        f(x)
        for f in (
            *(F.relu6, F.silu, F.gelu, F.mish, F.hardswish, F.hardsigmoid, F.elu, F.softplus),
            *(F.leaky_relu, torch.tanh, torch.erf, torch.abs, torch.sign, torch.floor),
        )
    ),
    "expand, repeat": lambda x: x[:, :1].expand(-1, 4, -1, -1) + x[:, :1].repeat(1, 4, 1, 1),
    "top two": lambda x: x.topk(2)[0],
    "convolution in one dimension": lambda x: F.conv1d(
        x.mean((2, 3))[:, None], torch.tensor([[[1.0, 2.0, -1.0]]]), padding=1
    ),
    "standardised kernels": lambda x: F.conv2d(
        x,
        F.batch_norm(torch.arange(54.0).sin().reshape(1, 6, 9), None, None, training=True).reshape(
            6, 1, 3, 3
        ),
        groups=3,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operators_are_torchs(name: str) -> None:
    torch.manual_seed(0)
    result, expected = interpreted_and_expected(Applied(FUNCTIONS[name]))
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=2e-5, rtol=2e-5)


def test_what_has_no_counterpart_is_embedded(tmp_path: Path) -> None:
    from trainers.torch_backend.export import to_tensorflow
    from trainers.torch_backend.tensorflow_graph import interpreted

    torch.manual_seed(0)
    net = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, stride=2), nn.Flatten())
    scorer, images = scorer_of(net), images_of(9)
    program = export_program(scorer, (SIZE, SIZE))
    with pytest.raises(NotImplementedError, match="transposed"):
        interpreted(program)
    module = to_tensorflow(program)
    for factor in (1.0, 2.0):
        with torch.no_grad():
            net[0].weight.fill_(factor)
            expected = scorer(torch.from_numpy(images)).numpy()
        module.assign({**program.state_dict, **program.constants})
        for count in (9, 1, 0):
            scores = module(images[:count]).numpy()
            np.testing.assert_allclose(scores, expected[:count], rtol=1e-4, atol=1e-4)


class Branching(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3, num_classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        mean_N3 = x_NCHW.mean(dim=(2, 3))
        return self.layer(mean_N3 if float(mean_N3.sum()) > 0 else -mean_N3)


@torch.library.custom_op("visionline_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return 2 * x


twice.register_fake(torch.empty_like)


def branching(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    return Branching(num_classes)


def unknown_to_tensorflow(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    return nn.Sequential(Applied(lambda x: twice(x) + 0), nn.Linear(3 * SIZE * SIZE, num_classes))


def unknown_to_onnx(*, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    def attention(x_NCHW: Tensor) -> Tensor:
        x_NACHW = x_NCHW[:, None]
        return F.scaled_dot_product_attention(x_NACHW, x_NACHW, x_NACHW)

    return nn.Sequential(Applied(attention), nn.Linear(3 * SIZE * SIZE, num_classes))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("branching", "cannot be exported, as evaluation and serving need: "),
        ("unknown_to_tensorflow", "cannot be exported as a TensorFlow SavedModel, which"),
        ("unknown_to_onnx", "cannot be exported as ONNX, which"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_it_is_trained(model: str, message: str) -> None:
    config = TrainConfig(framework="pytorch", model=f"{__name__}:{model}")
    learner = backend.build(config, num_classes=4, image_size=(SIZE, SIZE))
    with pytest.raises(ConfigError) as e:
        learner.prepare_export()
    assert str(e.value).startswith(f"model: {__name__}:{model} {message}")
    assert "\n" not in str(e.value)
