"""What a training run leaves to look at: curves as a picture, and TensorBoard logs."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.files import atomic_file, read_json
from modelstore.tasks import TASKS
from trainers.config import TrainConfig
from trainers.history import BEST, CURVES, HISTORY
from trainers.loop import Epoch, chosen

_LEAST_SECONDS = 5.0
_SHARE = 0.05
"""Of a training's time, at most, for drawing while it goes."""


def scalars(epoch: Epoch, headline: str) -> dict[str, float]:
    """Returns an epoch's figures by the tags that they have in TensorBoard and MLflow."""
    figures = {
        "loss/train": epoch.loss,
        "loss/val": epoch.val_loss,
        f"{headline}/train": epoch.metric,
        f"{headline}/val": epoch.val_metric,
        "learning_rate": epoch.learning_rate,
        "images_per_second": epoch.images_per_second,
        "data_wait": epoch.data_wait,
        "peak_memory_bytes": epoch.peak_memory_bytes,
    }
    return {tag: value for tag, value in figures.items() if value is not None}


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

        figures = scalars(epoch, self._headline)
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
        draw([Curve.of(self._config, epochs)], self._path)
        now = time.monotonic()
        self._next = now + max(_LEAST_SECONDS, (now - began) / _SHARE)


def complete(directory: Path, config: TrainConfig) -> None:
    """Draws what a training that ended early had no time to draw."""
    history, path = directory / HISTORY, directory / CURVES
    if not history.exists():
        return
    if not path.exists() or path.stat().st_mtime < history.stat().st_mtime:
        draw([Curve.read(directory, title_of(config))], path)


def title_of(config: TrainConfig) -> str:
    return f"{config.model} ({config.framework})"


@dataclass(frozen=True, slots=True)
class Curve:
    """How one training went."""

    title: str
    headline: str
    """The name of the task's headline metric."""
    epochs: Sequence[Epoch]
    best: Epoch
    """The one whose weights are exported."""

    @classmethod
    def of(cls, config: TrainConfig, epochs: Sequence[Epoch]) -> Curve:
        headline = TASKS[config.task].HEADLINE
        return cls(title_of(config), headline, epochs, chosen(config, epochs))

    @classmethod
    def read(cls, directory: Path, title: str) -> Curve:
        """Reads the history that a training writes into its folder.

        Raises:
          DataError: there is none, or none of a finished epoch.
        """
        path = directory / HISTORY
        try:
            figures = read_json(path)
            (headline,) = {
                name.removeprefix("val_")
                for name in figures[0]
                if name.startswith("val_") and name != "val_loss"
            }
            is_best = [each.pop(BEST, None) for each in figures]
            epochs = [Epoch.of(each, headline) for each in figures]
        except FileNotFoundError:
            raise DataError(f"{directory}: no epoch has ended, so there is no {HISTORY}.") from None
        except (ValueError, TypeError, LookupError, AttributeError, OSError) as e:
            raise DataError(f"{path} is no history of a training: {e}") from None
        # Earlier versions kept the least validation loss, and did not say so.
        of_old = min(epochs, key=lambda e: e.val_loss)
        best = next((e for e, is_it in zip(epochs, is_best, strict=True) if is_it), of_old)
        return cls(title, headline, epochs, best)


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draws one training or several over their epochs, as a PNG.

    Loss and headline metric of training (dashed) and validation, learning rate and images per
    second; several have a colour each.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    headlines = list(dict.fromkeys(c.headline for c in curves))
    panels: Sequence[tuple[str, Callable[[Epoch], Any], Callable[[Epoch], Any] | None]] = (
        ("loss", lambda e: e.val_loss, lambda e: e.loss),
        (" or ".join(headlines), lambda e: e.val_metric, lambda e: e.metric),
        ("learning rate", lambda e: e.learning_rate, None),
        ("images per second", lambda e: e.images_per_second, None),
    )
    several = len(curves) > 1
    names = [c.title for c in curves] if several else []
    rows = math.ceil(len(names) / 2)
    figure = Figure(figsize=(9, 5.4 + 0.22 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.add_gridspec(2, 2, height_ratios=(2, 1))
    colours = colormaps["tab10" if len(curves) <= 10 else "turbo"]
    for (name, validation, training), place in zip(panels, grid, strict=True):
        axes = figure.add_subplot(place)
        for number, curve in enumerate(curves):
            colour = colours(number if len(curves) <= 10 else number / len(curves))
            x = [e.epoch for e in curve.epochs]
            style: Any = {"color": colour, "lw": 1.4, "marker": "o", "ms": 3 if len(x) <= 30 else 0}
            axes.plot(x, [validation(e) for e in curve.epochs], **style)
            if training is None:
                continue
            axes.plot(x, [training(e) for e in curve.epochs], **style, ls="--", alpha=0.6)
            best = curve.best
            axes.plot(best.epoch, validation(best), "o", ms=9, mfc="none", color=colour)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name, parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        if training is None:
            axes.set_ylim(bottom=0)
    grey: Any = {"color": "0.35", "lw": 1.4}
    keys = [Line2D([], [], **grey), Line2D([], [], **grey, ls="--", alpha=0.6)]
    keys += [Line2D([], [], color="0.35", lw=0, marker="o", ms=9, mfc="none")]
    says = ["validation", "training", "best epoch"]
    if not several:
        best = curves[0].best
        says[-1] = f"best epoch ({best.epoch})"
        figure.suptitle(curves[0].title, parse_math=False)
    figure.axes[0].legend(keys, says, fontsize=8)
    if several:
        handles = [
            Line2D([], [], color=line.get_color(), lw=3) for line in figure.axes[2].get_lines()
        ]
        legend = figure.legend(handles, names, loc="outside lower left", ncols=2, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
    with atomic_file(path) as f:
        figure.savefig(f, format="png")
