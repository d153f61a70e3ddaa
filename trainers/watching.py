"""What people see of a training while it goes: history, curves, TensorBoard, MLflow, progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from common.config.strict import dump
from common.files import write_json
from common.process.progress import emit
from modelstore.tasks import TASKS
from trainers.config import TrainConfig
from trainers.curves import Drawing, TensorBoardLog
from trainers.history import BEST, CURVES, HISTORY, TENSORBOARD
from trainers.loop import Epoch, chosen
from trainers.tracking import Tracking, tracked


@contextlib.contextmanager
def watched(
    config: TrainConfig,
    run_dir: Path,
    before: Sequence[Epoch],
    tracking: Tracking | None,
    say: Callable[[str], None],
) -> Iterator[Callable[[Epoch], None]]:
    """Yields what takes each epoch of a training, and has it written, drawn and sent.

    Args:
      run_dir: where history, curves and logs go.
      before: the epochs that an earlier attempt has left.
      say: takes sentences for people.
    """
    headline, history = TASKS[config.task].HEADLINE, list(before)
    board = TensorBoardLog(run_dir / TENSORBOARD, headline, before)
    drawing = Drawing(config, run_dir / CURVES)

    def write_history() -> None:
        best = chosen(config, history)
        figures = [e.figures(headline) | {BEST: e is best} for e in history]
        write_json(run_dir / HISTORY, figures)

    if history:
        write_history()
    with tracked(
        tracking,
        parameters=dump(config),
        headline=headline,
        files=(run_dir / HISTORY, run_dir / CURVES),
        warn=say,
    ) as track:
        for epoch in before:
            track(epoch)

        def after_epoch(epoch: Epoch) -> None:
            history.append(epoch)
            board.write(epoch)
            write_history()
            drawing.after_epoch(history)
            track(epoch)
            emit({"kind": "epoch", "epochs": config.epochs, **epoch.figures(headline)})

        yield after_epoch
        board.close()
        drawing.draw(history)
