"""How a command ends when it is told to by SIGTERM or by a terminal that closed."""

from __future__ import annotations

import os
import select
import signal
import sys
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


def end_when_told() -> None:
    """From now on SIGTERM and SIGHUP raise SystemExit(128 + number), in the main thread.

    So whatever has to be ended or undone is, as after Ctrl-C; also where this is the first
    process of a container, which Linux spares from signals that it has no handler for.
    What is ignored, as SIGHUP under nohup, stays so.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # Once is enough: a terminal that closes sends its signal twice, systemd sends one to
    # every process, and ending takes its time.  No SIG_IGN, which children would inherit.
    for n in _NUMBERS:
        if signal.getsignal(n) is _end:
            signal.signal(n, lambda number, frame: None)
    leave_dead_outputs()
    sys.exit(128 + number)


def leave_dead_outputs() -> None:
    """Points stdout and stderr at nothing where nobody can read them any more.

    Otherwise the last words would raise, and the exit code would be another.
    """
    for fd in (1, 2):
        poll = select.poll()
        poll.register(fd, 0)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
