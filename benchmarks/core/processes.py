"""Whole processes: what they print and when, what they cost, how much memory they hold."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.core.machine import ROOT


class FailedError(Exception):
    """What was to be measured did not end well."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A working copy of the project, with its environment or this one."""

    root: Path = ROOT
    keeps_processes: bool = False
    """A run leaves its loaded process behind for the next, as it does for users; else none is
    left, and none used."""

    @property
    def python(self) -> str:
        own = self.root / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def module(self, name: str, *words: str) -> list[str]:
        """Returns the command that runs a module of this checkout, see `environment`."""
        return [self.python, "-m", name, *words]

    def visionline(self, *words: str) -> list[str]:
        """Returns the command that `visionline` with these words is."""
        return self.module("pipeline.cli.main", *words)

    @property
    def environment(self) -> dict[str, str]:
        given = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONUNBUFFERED": "1"}
        return given if self.keeps_processes else {**given, "VISIONLINE_KEEP_MINUTES": "0"}

    @contextlib.contextmanager
    def keeping(self) -> Iterator[Checkout]:
        """Yields the same checkout whose runs leave processes behind; none are there before."""
        keeping = replace(self, keeps_processes=True)
        keeping._stop_processes()
        try:
            yield keeping
        finally:
            keeping._stop_processes()

    def _stop_processes(self) -> None:
        null = subprocess.DEVNULL
        command = self.visionline("stop")  # checkouts from before there were any do not know it
        subprocess.run(command, cwd=self.root, env=self.environment, stdout=null, stderr=null)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One process, from its start to its end; seconds count from its start."""

    seconds: float
    cpu_seconds: float
    """Of it and of all its children that it waited for."""
    lines: tuple[tuple[float, str], ...]
    """What it printed, each line with when it came."""
    memory: tuple[tuple[float, int], ...] = ()
    """Resident bytes of it and all below it, now and then."""

    def first(self, has: Callable[[str], bool]) -> float | None:
        """Returns when the first such line came."""
        return next((when for when, line in self.lines if has(line)), None)

    def last(self, has: Callable[[str], bool]) -> float | None:
        """Returns when the last such line came."""
        return next((when for when, line in reversed(self.lines) if has(line)), None)


def watch(
    command: Sequence[str],
    log: Path,
    *,
    checkout: Checkout | None = None,
    until: Callable[[str], bool] | None = None,
    samples_a_second: float = 0.0,
    before: Callable[[], None] | None = None,
) -> Watched:
    """Runs a command to its end, or interrupts it when a line says `until`.

    Args:
      log: both outputs are kept there.
      checkout: whose code it is.
      samples_a_second: how often its memory is looked at.
      before: is called in the child before it runs.

    Raises:
      FailedError: it ended with another exit code than 0, or before `until` came.
    """
    checkout = checkout or Checkout()
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[tuple[float, str]] = []
    memory: list[tuple[float, int]] = []
    interrupted = False
    log.unlink(missing_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        began = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=checkout.root,
            env=checkout.environment,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            preexec_fn=before,
        )
        ended = threading.Event()

        def sample() -> None:
            while samples_a_second and not ended.wait(1 / samples_a_second):
                memory.append((time.perf_counter() - began, resident(child.pid)))

        sampling = threading.Thread(target=sample)
        sampling.start()
        assert child.stdout is not None
        for line in child.stdout:
            lines.append((time.perf_counter() - began, line.rstrip("\n")))
            file.write(line)
            file.flush()
            if until and not interrupted and until(line):
                interrupted = True
                child.send_signal(signal.SIGINT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampling.join()
    if interrupted != (until is not None) or (child.returncode and not interrupted):
        said = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
        raise FailedError(
            f"`{' '.join(command[1:])}` ended with exit code {child.returncode} after "
            f"{seconds:.0f} s; {log} has its output, which ends with:\n{said}"
        )
    return Watched(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        lines=tuple(lines),
        memory=tuple(memory),
    )


def times_on_terminal(
    command: Sequence[str], words: Mapping[str, bytes], *, checkout: Checkout
) -> dict[str, float]:
    """Runs a command on a terminal of its own; returns when it first wrote each of the words.

    It is interrupted when all of them came; empty words mean whatever comes first.

    Raises:
      FailedError: it ended before.
    """
    ours, theirs = pty.openpty()
    environment = {**checkout.environment, "COLUMNS": "120", "LINES": "40", "TERM": "xterm"}
    began = time.perf_counter()
    child = subprocess.Popen(
        command, cwd=checkout.root, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written, seen = b"", dict[str, float]()
    try:
        while len(seen) < len(words):
            try:
                written += os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed
                said = written.decode(errors="replace")[-2000:]
                raise FailedError(f"`{' '.join(command[1:])}` ended too early:\n{said}") from None
            now = time.perf_counter() - began
            seen |= {name: now for name, w in words.items() if name not in seen and w in written}
    finally:
        child.send_signal(signal.SIGINT)
        threading.Thread(target=_drain, args=(ours,), daemon=True).start()
        child.wait()
        os.close(ours)
    return seen


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def resident(pid: int) -> int:
    """Returns the resident bytes of a process and all below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = [
            int(c)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for c in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident, children))
