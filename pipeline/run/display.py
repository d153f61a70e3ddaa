"""What people see while a pipeline runs: a live table, or plain lines without a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from common.formats import duration
from common.record.kinds import TRAINER

_STYLES = {
    "waiting": "dim",
    "skipped": "dim",
    "pending": "yellow",
    "running": "yellow",
    "cached": "cyan",
    "done": "green",
    "failed": "bold red",
    "stopped": "bold red",
}
_STAGES = {
    "prepare": "trying the export",
    "export": "exporting and comparing formats",
    "predictions": "predicting the held-out images",
}


_WAITS = 0.03
"""A training that waits for its data for more than this share of its time should not."""


@dataclass(slots=True)
class _Node:
    state: str = "waiting"
    began: float = 0.0
    seconds: float | None = None
    detail: str = ""
    """How far it has come."""


@dataclass(slots=True)
class _Progress:
    """The events of a run, as they add up."""

    nodes: dict[str, _Node] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    validated: dict[str, Any] = field(default_factory=dict)
    stage: str = ""

    def handle(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "nodes":
            self.nodes = {name: _Node() for name in event["nodes"]}
        elif kind == "node":
            node = self.nodes.setdefault(event["node"], _Node())
            node.state = event["state"]
            node.seconds = event.get("seconds")
            if node.state == "running":
                node.began = time.monotonic()
                self.stage = ""
        elif kind == "detail":
            self.nodes.setdefault(event["node"], _Node()).detail = event["text"]
        elif kind == "interrupted":
            for node in self.nodes.values():
                if node.state == "running":
                    node.state, node.seconds = "stopped", time.monotonic() - node.began
        elif kind == "progress":
            self.training, self.stage = event, "training"
        elif kind == "epoch":
            self.validated = event
        elif kind == "stage":
            self.stage = event["stage"]


class PlainDisplay:
    """One line per change, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, title: str, detail: str) -> None:
        self._print(f"{title}\n{detail}")

    def handle(self, event: dict[str, Any]) -> None:
        if event["kind"] == "node":
            seconds = event.get("seconds")
            took = f" ({duration(seconds)})" if seconds is not None else ""
            self._print(f"{event['node']}: {event['state']}{took}")
        elif event["kind"] == "epoch":
            self._print(f"Trainer: {_epoch(event)}")
        elif event["kind"] == "note":
            self._print(f"Note: {event['text']}")

    def stop(self) -> None:
        pass

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A table of components that is drawn again as they go."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._progress = _Progress()
        self._spinner = Spinner("dots", "loading TFX, about half a minute", style="yellow")

    def begin(self, title: str, detail: str) -> None:
        self._progress = _Progress()
        self._console.print(Text(title, style="bold"))
        self._console.print(Text(detail, style="dim"), soft_wrap=True)
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=8)
        self._live.start()

    def handle(self, event: dict[str, Any]) -> None:
        if event["kind"] == "note":
            self._console.print(Text(f"Note: {event['text']}", style="yellow"), soft_wrap=True)
        self._progress.handle(event)

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> RenderableType:
        if not self._progress.nodes:
            return self._spinner
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for name, node in self._progress.nodes.items():
            seconds = node.seconds
            if node.state == "running":
                seconds = time.monotonic() - node.began
            table.add_row(
                name,
                Text(node.state, style=_STYLES[node.state]),
                Text("" if seconds is None else duration(seconds), justify="right"),
                self._detail(name, node),
            )
        return table

    def _detail(self, name: str, node: _Node) -> RenderableType:
        progress = self._progress
        if node.state == "running" and progress.stage in _STAGES:
            return Text(_STAGES[progress.stage], style="dim")
        if name != TRAINER or node.state in ("waiting", "cached"):
            return Text(node.detail if node.state == "running" else "", style="dim")
        last = Text(_epoch(progress.validated) if progress.validated else "", style="dim")
        if node.state != "running":
            return last
        if not progress.training:
            return Text(node.detail or "starting the training process", style="dim")
        step = progress.training
        bar = ProgressBar(total=step["steps"], completed=step["step"], width=24)
        text = Text(
            f"epoch {step['epoch']}/{step['epochs']}  loss {step['loss']:.3f}  "
            f"accuracy {step['accuracy']:.3f}"
        )
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(bar, text)
        lines: list[RenderableType] = [line, Text(_pace(step), style="dim")]
        return Group(*lines, last) if progress.validated else Group(*lines)


Display = LiveDisplay | PlainDisplay


def make_display(console: Console) -> Display:
    """Returns the display that fits where the output goes."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def _pace(step: dict[str, Any]) -> str:
    """Says how fast a training goes, and how long it will take at that."""
    says = [f"rate {step['learning_rate']:.3g}", f"{step['images_per_second']:,.0f} images/s"]
    if step["data_wait"] >= _WAITS:
        says.append(f"waits {step['data_wait']:.0%} of the time for data")
    return "  ".join([*says, f"{duration(step['seconds_left'])} left"])


def _epoch(event: dict[str, Any]) -> str:
    return (
        f"epoch {event['epoch']}/{event['epochs']}: loss {event['loss']:.3f}, "
        f"accuracy {event['accuracy']:.3f}, validation loss {event['val_loss']:.3f}, "
        f"validation accuracy {event['val_accuracy']:.3f}"
    )
