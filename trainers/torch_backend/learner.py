"""A PyTorch model in training (`trainers.contract.Learner`)."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.contract import Arrays, Augmentation, Batch, Floats, Images, StepResult
from trainers.own_models import described
from trainers.torch_backend import augment, state
from trainers.torch_backend.export import Formats, on_cpu
from trainers.torch_backend.models import Model
from trainers.torch_backend.scorer import PROGRAM, Scorer, predict, to_device
from trainers.torch_backend.tasks import OPS
from trainers.torch_backend.updates import Updates

STATE, SPEC = "state_dict.pt", "spec.json"
"""The files of the native model, beside the program."""


class TorchLearner:
    """One model in training; `train_step`, `predict` and the rest of the contract."""

    def __init__(
        self,
        config: TrainConfig,
        model: Model,
        *,
        num_classes: int,
        image_size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._config = config
        self._model = model
        self._num_classes = num_classes
        self._image_size = image_size
        self._device = device
        # NHWC in memory is the faster order for convolutions, on CPUs above all.
        net = model.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._task = OPS[config.task]
        self._scorer = Scorer(
            net,
            model.mean,
            model.std,
            self._task.scores,
            mirrored=config.test_time_augmentation == "flip",
        ).to(device)
        self._loss_N = self._task.loss(config)
        self._updates = Updates(net, config)
        self.parameter_count = parameter_count(net)

    def train_step(self, batch: Batch, learning_rate: float) -> StepResult:
        images_NHW3, labels_N, targets_NC, weights_N = (
            to_device(array, self._device)
            for array in (batch.images_NHW3, batch.labels_N, batch.targets_NC, batch.weights_N)
        )
        self._scorer.train()
        images_N3HW = self._input(images_NHW3, batch.augmentation)
        logits_NC = self._logits(images_N3HW)
        teacher_NC = batch.teacher_NC
        loss_N = self._loss_N(
            logits_NC,
            targets_NC,
            None if teacher_NC is None else to_device(teacher_NC, self._device),
        )
        loss = self._updates.backward(loss_N, weights_N)
        if batch.update:
            self._updates.step(learning_rate)
        metric_sum = self._task.metric_sum(logits_NC, labels_N)
        return StepResult(loss=loss.item(), metric_sum=float(metric_sum.item()))

    def predict(self, images_NHW3: Images) -> Floats:
        self._scorer.eval()
        return predict(self._scorer, images_NHW3, self._device)

    def snapshot(self) -> Arrays:
        return state.weights(self._scorer.net)

    def restore(self, snapshot: Arrays) -> None:
        state.set_weights(self._scorer.net, snapshot)

    def state(self) -> Arrays:
        updates = state.updates(self._updates)
        return {**state.weights(self._scorer.net), **updates, **state.generators()}

    def set_state(self, state_: Arrays) -> None:
        state.set_weights(self._scorer.net, state_)
        state.set_updates(self._updates, state_)
        state.set_generators(state_)

    def exchange_average(self) -> None:
        assert self._updates.average is not None
        self._updates.average.exchange()

    @functools.cached_property
    def _formats(self) -> Formats:
        try:
            return Formats(self._scorer, self._image_size)
        except Exception as e:
            raise ConfigError(
                f"model: {self._config.model} cannot be exported, as evaluation and serving need: "
                f"{described(e)} "
                "Its forward must not branch on the values of tensors (see torch.export)."
            ) from e

    def prepare_export(self) -> None:
        self._formats.prepare(self._config.model)

    def to_tensorflow(self) -> Any:
        return self._formats.tensorflow()

    def to_onnx(self, path: Path) -> None:
        self._formats.write_onnx(path)

    def save(self, directory: Path) -> None:
        torch.export.save(self._formats.program(), directory / PROGRAM)
        torch.save(on_cpu(self._scorer).net.state_dict(), directory / STATE)
        spec = {
            "model": self._config.model,
            "task": self._config.task,
            "model_args": self._config.model_args,
            "num_classes": self._num_classes,
            "image_size": list(self._image_size),
            "mean": list(self._model.mean),
            "std": list(self._model.std),
        }
        (directory / SPEC).write_text(json.dumps(spec, indent=2) + "\n")

    def _input(self, images_NHW3: Tensor, augmentation: Augmentation | None) -> Tensor:
        images_NHW3 = images_NHW3.to(torch.float32)
        if augmentation is not None:
            images_N3HW = augment.apply(images_NHW3.permute(0, 3, 1, 2) / 255, augmentation)
            images_NHW3 = 255 * images_N3HW.permute(0, 2, 3, 1)
        images_N3HW = self._scorer.normalise(images_NHW3)
        return images_N3HW.contiguous(memory_format=torch.channels_last)

    def _logits(self, images_N3HW: Tensor) -> Tensor:
        alone = len(images_N3HW) == 1
        if alone:  # BatchNorm refuses to train on one value per channel: show it twice.
            images_N3HW = images_N3HW.expand(2, -1, -1, -1)
        logits_NC: Tensor = self._scorer.net(images_N3HW)
        return logits_NC[:1] if alone else logits_NC


def parameter_count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
