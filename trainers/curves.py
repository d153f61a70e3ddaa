"""What a training run leaves to look at: curves as a picture, and TensorBoard logs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files import atomic_file, read_json
from modelstore.tasks import TASKS
from trainers.config import TrainConfig
from trainers.history import CURVES, HISTORY
from trainers.loop import Epoch, chosen

_LEAST_SECONDS = 5.0
_SHARE = 0.05
"""Of a training's time, at most, for drawing while it goes."""


class TensorBoardLog:
    """Writes each epoch's figures where `tensorboard --logdir` reads them.

    Not by TensorBoard's own file writer, which imports TensorFlow where it is
    installed: ten seconds, and no business of a PyTorch training.
    """

    def __init__(
        self, directory: Path, headline: str = "accuracy", before: Sequence[Epoch] = ()
    ) -> None:
        """Starts a log; what an earlier attempt left in the folder is written anew.

        Args:
          before: the epochs of earlier attempts that count.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._headline = headline
        directory.mkdir(parents=True, exist_ok=True)
        for log in directory.glob("events.out.tfevents.*"):
            log.unlink()
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        file = open(directory / name, "wb")  # noqa: SIM115 - open until `close`
        self._writer = RecordWriter(file)
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if before:  # a TensorBoard that is open forgets what it has read from there on
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=before[0].epoch, session_log=start))
        for epoch in before:
            self.write(epoch)

    def write(self, epoch: Epoch) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        figures = {
            "loss/train": epoch.loss,
            "loss/val": epoch.val_loss,
            f"{self._headline}/train": epoch.metric,
            f"{self._headline}/val": epoch.val_metric,
            "learning_rate": epoch.learning_rate,
            "images_per_second": epoch.images_per_second,
        }
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        self._add(Event(wall_time=time.time(), step=epoch.epoch, summary=Summary(value=values)))

    def close(self) -> None:
        self._writer.close()

    def _add(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())
        self._writer.flush()


class Drawing:
    """The curves of a training that goes on: drawn again every few seconds."""

    def __init__(self, config: TrainConfig, path: Path) -> None:
        self._config, self._path = config, path
        self._next = time.monotonic() + _LEAST_SECONDS

    def after_epoch(self, epochs: list[Epoch]) -> None:
        if time.monotonic() >= self._next:
            self.draw(epochs)

    def draw(self, epochs: list[Epoch]) -> None:
        began = time.monotonic()
        draw_curves(epochs, self._config, self._path)
        now = time.monotonic()
        self._next = now + max(_LEAST_SECONDS, (now - began) / _SHARE)


def complete(directory: Path, config: TrainConfig) -> None:
    """Draws what a training that ended early had no time to draw."""
    history, path = directory / HISTORY, directory / CURVES
    if not history.exists():
        return
    if not path.exists() or path.stat().st_mtime < history.stat().st_mtime:
        headline = TASKS[config.task].HEADLINE
        epochs = [Epoch.of(figures, headline) for figures in read_json(history)]
        draw_curves(epochs, config, path)


def draw_curves(epochs: list[Epoch], config: TrainConfig, path: Path) -> None:
    """Draws loss and headline metric over epochs as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{config.model} ({config.framework})")
    x = [e.epoch for e in epochs]
    best_epoch, headline = chosen(config, epochs).epoch, TASKS[config.task].HEADLINE
    for place, name, train, val in (
        (1, "loss", [e.loss for e in epochs], [e.val_loss for e in epochs]),
        (2, headline, [e.metric for e in epochs], [e.val_metric for e in epochs]),
    ):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(x, train, marker="o", ms=3, label="train (augmented)")
        axes.plot(x, val, marker="o", ms=3, label="validation")
        axes.axvline(best_epoch, color="0.6", lw=1, ls=":", label=f"best epoch ({best_epoch})")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    with atomic_file(path) as f:
        figure.savefig(f, format="png")
