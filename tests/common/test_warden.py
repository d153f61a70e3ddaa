"""Nothing of a command is left when it, its warden or who started it ends, however it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT, start_python, wait_until
from processes import kill_all, marked

from common.process import warden

pytestmark = pytest.mark.quick

TREE = "(setsid sleep 600 &) ; sleep 600 & sleep 600; true"
"""Children, one of them in a session of its own whose parent is gone."""
STARTER = """
import os, sys
from common.process import warden
child = warden.start(sys.argv[2:], cleanup=[w for w in sys.argv[1].split(" ") if w])
print(child.pid, flush=True)
print(child.wait(), flush=True)
"""


@pytest.fixture
def mark(monkeypatch) -> Iterator[str]:
    """A value in the environment of all that a test starts."""
    value = uuid.uuid4().hex
    monkeypatch.setenv("VISIONLINE_TEST_MARK", value)
    yield value
    kill_all(value)


def sleeping(mark: str) -> int:
    return sum(words.startswith("sleep ") for words in marked(mark).values())


def start(*command: str, cleanup: str = "") -> tuple[subprocess.Popen[str], int]:
    """A process that starts a command, and the warden's id."""
    starter = start_python("-c", STARTER, cleanup, *command, PYTHONPATH=str(ROOT))
    assert starter.stdout is not None
    return starter, int(starter.stdout.readline())


@pytest.mark.parametrize("victim", ["starter", "warden", "command"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_whoever_is_killed_nothing_is_left(mark, victim, number):
    starter, warden_ = start("sh", "-c", TREE)
    wait_until(lambda: sleeping(mark) == 3)
    (command,) = (p for p, words in marked(mark).items() if words.startswith("sh -c"))
    os.kill({"starter": starter.pid, "warden": warden_, "command": command}[victim], number)
    # A warden that is killed leaves what has a session of its own and no parent.
    left = 1 if (victim, number) == ("warden", signal.SIGKILL) else 0
    wait_until(lambda: sleeping(mark) == left and len(marked(mark)) == left)
    kill_all(mark)
    starter.communicate()


def test_a_command_that_ends_takes_its_children_along(mark):
    starter, _ = start("sh", "-c", TREE.replace("; true", "; ").replace("& sleep 600", "& exit 7"))
    printed, _ = starter.communicate(timeout=60)
    assert printed == "7\n"
    assert not marked(mark)


def test_a_signal_that_ends_the_command_is_seen_as_one(mark):
    starter, _ = start("sh", "-c", "kill -KILL $$")
    assert starter.communicate(timeout=60)[0] == "-9\n"


def test_a_command_that_is_not_there_is_named(mark):
    starter, _ = start("no-such-command")
    printed, said = starter.communicate(timeout=60)
    assert printed == "127\n"
    assert said == "visionline: Cannot start no-such-command: No such file or directory.\n"


def test_a_command_that_will_not_end_is_killed(mark):
    child = warden.start(["sh", "-c", "trap '' TERM HUP; while :; do sleep 600; done"])
    wait_until(lambda: sleeping(mark) == 1)
    began = time.monotonic()
    child.stop()
    assert time.monotonic() - began >= warden.GRACE_SECONDS
    assert child.returncode == -signal.SIGKILL
    assert not marked(mark)


def test_another_ctrl_c_does_not_wait(mark):
    child = warden.start(["sh", "-c", "trap '' TERM; while :; do sleep 600; done"])
    wait_until(lambda: sleeping(mark) == 1)
    interrupt = "import os, signal, sys, time; time.sleep(0.5); os.kill(int(sys.argv[1]), 2)"
    hurried = subprocess.Popen([sys.executable, "-c", interrupt, str(os.getpid())])
    child.stop()
    hurried.wait()
    wait_until(lambda: not marked(mark))


def test_what_runs_elsewhere_is_ended_by_a_command(mark, tmp_path):
    """As a container, which goes on when its client is gone."""
    place = tmp_path / "killed"
    starter, _ = start("sleep", "600", cleanup=f"touch {place}")
    wait_until(lambda: sleeping(mark) == 1)
    starter.kill()
    wait_until(lambda: place.exists() and not marked(mark))
    starter.communicate()


def test_it_needs_nothing_of_the_project():
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT / "common/process/warden.py")],
        capture_output=True,
        text=True,
        cwd=Path("/"),
    )
    assert done.returncode == 0, done.stderr
