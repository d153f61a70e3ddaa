"""Commands that are told to end: SIGTERM, a closed terminal, a reader that went away."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import command
from helpers import environment, start_python, wait_until
from processes import kill_all, marked

from common.errors import RunError
from common.process import folder_lock

pytestmark = pytest.mark.quick

KUBEFLOW = {
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.14.3",
    "pipelineInfo": {"name": "long"},
    "components": {"comp-sleep": {"executorLabel": "exec-sleep"}},
    "deploymentSpec": {
        "executors": {
            "exec-sleep": {
                "container": {
                    "image": "none",
                    "command": ["sh", "-c", "(setsid sleep 600 &) ; sleep 600; true"],
                }
            }
        }
    },
    "root": {
        "dag": {
            "tasks": {
                "sleep": {
                    "componentRef": {"name": "comp-sleep"},
                    "taskInfo": {"name": "sleep"},
                    "cachingOptions": {},
                }
            }
        }
    },
}


@pytest.fixture
def mark() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    kill_all(value)


def start(mark: str, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words),
        env=environment(VISIONLINE_TEST_MARK=mark),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_task(mark: str, folder: Path) -> subprocess.Popen[str]:
    """A run of a compiled pipeline on this machine, in the middle of its only task."""
    package = folder / "long.yaml"
    package.write_text(yaml.safe_dump(KUBEFLOW))
    words = ("kubeflow", "run", package, "--output", folder / "out")
    process = start(mark, *words)
    wait_until(lambda: sum(w.startswith("sleep ") for w in marked(mark).values()) == 2)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_task_ends_with_the_run_and_the_folder_is_free(mark, tmp_path, number):
    process = start_task(mark, tmp_path)
    assert folder_lock.is_held(tmp_path / "out")
    process.send_signal(number)
    process.wait(60)
    with folder_lock.hold(tmp_path / "out"):  # what is about to end is waited for
        # The log's writer, which is the last to end, holds no lock.
        assert all("timed_log" in words for words in marked(mark).values())
    wait_until(lambda: not marked(mark))
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in process.communicate()[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nohup_is_respected(number):
    ignoring = "import signal, sys, time; from common.process.endings import end_when_told; "
    ignoring += "end_when_told(); print('ready', flush=True); time.sleep(2); sys.exit(5)"
    child = subprocess.Popen(
        ["nohup", *start_words(ignoring)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(number)
    assert child.wait(60) == (5 if number == signal.SIGHUP else 128 + number)


def start_words(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_terminal_that_closes(mark):
    """The last words cannot be written, and the exit code is the signal's all the same."""
    code = "import sys, time; from common.process.endings import end_when_told; end_when_told()\n"
    code += "print('ready', flush=True)\ntry: time.sleep(600)\n"
    code += "finally: print('last words', flush=True)"
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *start_words(code)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(VISIONLINE_TEST_MARK=mark),
    )
    os.close(theirs)
    said = b""
    while not said.endswith(b"\n"):  # a terminal that closes within a line breaks the writing of it
        said += os.read(ours, 100)
    os.close(ours)
    assert child.wait(60) == 128 + signal.SIGHUP


HOLD = """
import subprocess, sys
from pathlib import Path
from common.process.children import inherited
from common.process import folder_lock
with folder_lock.hold(Path(sys.argv[1])):
    subprocess.Popen(["sleep", sys.argv[2]], pass_fds=inherited(),
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_is_held_by_all_of_a_run(tmp_path, mark):
    assert folder_lock.is_held(tmp_path) is None
    holder = start_python("-c", HOLD, str(tmp_path), "600", stdin=True, VISIONLINE_TEST_MARK=mark)
    assert holder.stdout.readline() == "held\n"
    assert folder_lock.is_held(tmp_path) is True
    holder.kill()
    holder.communicate()
    assert folder_lock.is_held(tmp_path) is True, "a child is alive"
    kill_all(mark)
    with folder_lock.hold(tmp_path):
        assert folder_lock.is_held(tmp_path) is True
    assert folder_lock.is_held(tmp_path) is False


def test_a_run_that_is_about_to_end_is_waited_for(tmp_path, mark):
    holder = start_python("-c", HOLD, str(tmp_path), "2", stdin=True, VISIONLINE_TEST_MARK=mark)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="Another run is using"), folder_lock.hold(tmp_path):
        pass
    holder.kill()  # not reaped: a zombie has ended too
    with folder_lock.hold(tmp_path):
        pass
    holder.communicate()
