"""Runs a command of which nothing is left once it ends, or once who started it does.

The warden is a process between the two: this file, run by itself.  It ends the command
when its standard input is closed, which the kernel does however its starter ended, and
takes along what the command leaves behind: Linux hands it the children of processes that
are gone.  If the warden is killed, the kernel kills the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

GRACE_SECONDS = 8.0
"""For the command to end by itself; `docker stop` allows ten seconds for all."""
SPARE_SECONDS = 10.0
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Guarded:
    """A command under a warden, which is `process`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def wait(self) -> int:
        """Waits until nothing is left of the command; returns its exit code, or minus a signal."""
        if self._process.returncode is None:
            # Not reaped before its group is gone, so that its number means no other.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._kill_group()
        return self._process.wait()

    def stop(self) -> None:
        """Ends the command and what belongs to it; a Ctrl-C meanwhile does so at once."""
        assert self._process.stdin is not None
        deadline = time.monotonic() + GRACE_SECONDS + SPARE_SECONDS
        with contextlib.suppress(KeyboardInterrupt):
            self._process.stdin.close()
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(0.02)
        if self._process.returncode is None:
            self._kill_group()
            self._process.wait()

    def _has_ended(self) -> bool:
        if self._process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def start(command: Sequence[str], *, cleanup: Sequence[str] = (), **options: Any) -> Guarded:
    """Starts a command under a warden, in a session of its own.

    Args:
      cleanup: a command that ends what the command has started elsewhere, such as a
        container; run where the command did not end by itself.
      options: further ones of `subprocess.Popen`; the command inherits `pass_fds`.
    """
    process = subprocess.Popen(
        # -I -S: no time, and nothing of the user's, goes into its start.
        [sys.executable, "-I", "-S", __file__, json.dumps(list(cleanup)), *command],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches it through us alone
        **options,
    )
    return Guarded(process)


def main(cleanup: str, *command: str) -> int:
    """The warden itself; returns the command's exit code, or minus a signal."""
    wake = signals()
    alone = json.loads(cleanup)
    if not alone:  # a container's engine has processes that are to outlive its client
        adopt_descendants()
    try:
        child = _start(command)
    except OSError as e:
        print(f"visionline: Cannot start {command[0]}: {e.strerror}.", file=sys.stderr)
        return 127
    told_to = watch(child, 0, wake)
    if alone and told_to:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                alone, stdin=subprocess.DEVNULL, capture_output=True, timeout=GRACE_SECONDS
            )
    elif not alone:
        end_descendants()
    return child.returncode


class Child(Protocol):
    """What is watched, as of `subprocess.Popen`."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


def watch(child: Child, asked: int, wake: int) -> bool:
    """Waits for a child's end, and ends it where that is asked for.

    Args:
      asked: a file descriptor that can be read once it is to end, as of a closed pipe.
      wake: see `signals`.

    Returns:
      Whether it was told to end.
    """
    is_ending = False
    deadline = 0.0
    while child.poll() is None:
        seconds = max(deadline - time.monotonic(), 0.0) if is_ending else None
        ready, _, _ = select.select([wake] if is_ending else [wake, asked], [], [], seconds)
        numbers = os.read(wake, 4096) if wake in ready else b""
        if not is_ending and (asked in ready or any(n in _ENDING for n in numbers)):
            is_ending, deadline = True, time.monotonic() + GRACE_SECONDS
            child.terminate()
        elif is_ending and time.monotonic() >= deadline:
            child.kill()
            child.wait()
    return is_ending


def signals() -> int:
    """Takes note of signals; returns where their numbers can be read."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*_ENDING, signal.SIGCHLD):
        if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    return reading


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    us = os.getpid()
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, close_fds=False, preexec_fn=lambda: die_with(us)
    )


def die_with(parent: int) -> None:
    """Has Linux kill this process when the thread that started it ends."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def adopt_descendants() -> None:
    """Has Linux hand this process the children of its descendants that are gone."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """Kills what the command left; the children of what is killed become ours."""
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            for child in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.01)


def _children() -> list[int]:
    pids = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = entry.read_bytes().rpartition(b")")[2].split()[1]
            if int(parent) == os.getpid():
                pids.append(int(entry.parent.name))
    return pids


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _mirror(code: int) -> None:
    """Ends as the command did, so that a signal is seen as one."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL needs no default
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    _mirror(main(*sys.argv[1:]))
