"""A process that a server forks is what another would be, and nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers import ROOT, environment, start_python, wait_until

from common.process.warm import client, folder, loaded
from common.process.warm.client import Target, keep, stop_all

pytestmark = pytest.mark.quick

TARGET = Target("greeter", ("hello",))
GREETER = """
import json, os, signal, subprocess, sys, time
import lesson
said = []

def preload(word):
    said.append(word)

def command(what, *rest):
    if what == "tell":
        told = {"pid": os.getpid(), "said": said, "lesson": lesson.TEXT, "rest": rest}
        told |= {"folder": os.getcwd(), "who": os.environ.get("WHO"), "umask": os.umask(0o22)}
        print(json.dumps(told), flush=True)
    if what == "write":
        os.write(int(rest[0]), b"written")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep":
        child = subprocess.Popen(["setsid", "sleep", "600"])
        print(child.pid, flush=True)
        time.sleep(600)
    return int(rest[-1]) if what == "exit" else 0
"""


@dataclass
class Home:
    """Where modules are, and the environment of a server that imports them."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **others: str) -> tuple[client.Process | None, int]:
        """Returns the process, if there is a server, and where its output can be read."""
        reading, writing = os.pipe()
        env = self.environment | others
        process = client.start(TARGET, arguments, env, {1: writing, 2: writing})
        os.close(writing)
        return process, reading

    def ask(self, *arguments: str, **others: str) -> str:
        process, reading = self.start(*arguments, **others)
        assert process is not None
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        assert process.wait() == 0, said
        return said

    def keep(self) -> int:
        """Leaves a server behind; returns its id, once it listens."""
        keep(TARGET, self.environment)
        wait_until(lambda: bool(self._listening()))
        (pid,) = self._listening()
        return pid

    def _listening(self) -> list[int]:
        pids = []
        for path in folder.sockets():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                pids.append(struct.unpack("3i", data)[0])
        return pids


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Home]:
    short = tempfile.mkdtemp(dir="/tmp")  # a socket's path has 107 bytes at most
    monkeypatch.setenv("XDG_RUNTIME_DIR", short)
    monkeypatch.setenv(folder.IDLE_VARIABLE, "1")
    (tmp_path / "greeter.py").write_text(GREETER)
    (tmp_path / "lesson.py").write_text("TEXT = 'first'\n")
    time.sleep(0.06)  # code that has just changed is not kept
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    yield Home(tmp_path, {**environment(), "PYTHONPATH": path})
    stop_all()
    shutil.rmtree(short)


def told(text: str) -> Mapping[str, object]:
    import json

    return dict(json.loads(text))


def test_without_a_server_there_is_no_process(home):
    process, reading = home.start("tell")
    assert process is None
    assert os.read(reading, 1) == b""


def test_a_process_is_what_another_would_be(home, monkeypatch):
    home.keep()
    (home.path / "work").mkdir()
    monkeypatch.chdir(home.path / "work")
    # What says nothing of the code that was imported may differ.
    first = told(home.ask("tell", "a", "b c", TERM="dumb"))
    second = told(home.ask("tell"))
    assert first["said"] == ["hello"]
    assert first["rest"] == ["a", "b c"]
    assert first["folder"] == str(home.path / "work")
    assert first["pid"] != second["pid"]


def test_file_descriptors_have_their_numbers(home):
    home.keep()
    reading, writing = os.pipe()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    fds = {1: nowhere, 2: nowhere, 77: writing}
    process = client.start(TARGET, ["write", "77"], home.environment, fds)
    os.close(writing)
    assert os.read(reading, 99) == b"written"
    assert process is not None
    assert process.wait() == 0
    assert os.read(reading, 1) == b""  # nobody holds it open any more


@pytest.mark.parametrize(("words", "code"), [(["exit", "3"], 3), (["die"], -signal.SIGKILL)])
def test_its_end_is_told(home, words, code):
    home.keep()
    process, _ = home.start(*words)
    assert process is not None
    assert process.wait() == code
    assert process.poll() == code


def test_code_that_was_edited_is_never_run_as_it_was(home):
    server = home.keep()
    assert told(home.ask("tell"))["lesson"] == "first"
    (home.path / "lesson.py").write_text("TEXT = 'other'\n")
    process, _ = home.start("tell")
    assert process is None
    wait_until(lambda: not is_alive(server))
    time.sleep(0.06)
    home.keep()
    assert told(home.ask("tell"))["lesson"] == "other"


def test_code_that_changes_while_it_is_imported_is_not_kept(home):
    (home.path / "lesson.py").write_text(
        "import pathlib\npathlib.Path(__file__).touch()\nTEXT = ''\n"
    )
    keep(TARGET, home.environment)
    lock = Path(os.environ["XDG_RUNTIME_DIR"]) / f"visionline-{os.getuid()}"
    wait_until(lambda: bool(list(lock.glob("*.lock"))))
    time.sleep(1)
    assert folder.sockets() == []


@pytest.mark.parametrize(
    "variable", ["PYTHONPATH", "OMP_NUM_THREADS", "WHO", "KERAS_BACKEND", "LD_LIBRARY_PATH"]
)
def test_another_environment_is_another_server_s(home, variable):
    home.keep()
    process, _ = home.start("tell", **{variable: "/somewhere/else"})
    assert process is None


def test_other_limits_are_another_server_s(home):
    home.keep()
    before = os.umask(0o027)
    try:
        process, _ = home.start("tell")
    finally:
        os.umask(before)
    assert process is None


def test_a_process_that_is_stopped_leaves_nothing(home):
    home.keep()
    process, reading = home.start("sleep")
    assert process is not None
    child = int(os.read(reading, 20))
    keeper = parent(process.pid)
    process.stop()
    wait_until(lambda: not any(map(is_alive, (process.pid, child, keeper))))
    assert process.returncode in (-signal.SIGTERM, -signal.SIGKILL)


@pytest.mark.parametrize("victim", ["client", "keeper", "process"])
def test_whoever_is_killed_nothing_is_left(home, victim):
    home.keep()
    code = (
        "import os, sys; from common.process.warm import client; from greeter_target import *; "
        "p = client.start(TARGET, ['sleep'], ENV, {1: 1, 2: 2}); "
        "print(p.pid, flush=True); p.wait()"
    )
    (home.path / "greeter_target.py").write_text(
        f"from common.process.warm.client import Target\nTARGET = {TARGET!r}\n"
        f"ENV = {home.environment!r}\n"
    )
    starter = start_python("-c", code, PYTHONPATH=home.environment["PYTHONPATH"])
    assert starter.stdout is not None
    pid, child = sorted(int(starter.stdout.readline()) for _ in range(2))
    keeper = parent(pid)
    os.kill({"client": starter.pid, "keeper": keeper, "process": pid}[victim], signal.SIGKILL)
    left = [pid, keeper] if victim == "keeper" else [pid, child, keeper]
    wait_until(lambda: not any(map(is_alive, left)))
    if victim == "keeper":  # it leaves what has a session of its own, as a warden does
        os.kill(child, signal.SIGKILL)
    starter.communicate(timeout=60)


def test_a_server_that_nobody_asks_ends(home, monkeypatch):
    monkeypatch.setenv(folder.IDLE_VARIABLE, "0.02")
    server = home.keep()
    wait_until(lambda: not is_alive(server))
    assert folder.sockets() == []


def test_a_server_stays_while_it_is_used(home, monkeypatch):
    monkeypatch.setenv(folder.IDLE_VARIABLE, "0.01")
    server = home.keep()
    process, _ = home.start("sleep")
    assert process is not None
    time.sleep(1.5)
    assert is_alive(server)
    process.stop()
    wait_until(lambda: not is_alive(server))


def test_there_is_one_server_of_a_kind(home):
    for _ in range(3):
        keep(TARGET, home.environment)
    home.keep()
    assert len(folder.sockets()) == 1


def test_nothing_is_kept_where_nothing_is_to_be(home, monkeypatch):
    server = home.keep()
    monkeypatch.setenv(folder.IDLE_VARIABLE, "0")
    process, _ = home.start("tell")
    assert process is None
    assert is_alive(server)


def test_a_folder_that_others_can_write_to_is_not_used(home):
    home.keep()
    place = Path(os.environ["XDG_RUNTIME_DIR"], f"visionline-{os.getuid()}")
    place.chmod(0o770)
    process, _ = home.start("tell")
    assert process is None
    place.chmod(0o700)
    home.ask("tell")


def test_a_link_in_the_folder_s_place_is_not_followed(home, tmp_path):
    place = Path(os.environ["XDG_RUNTIME_DIR"], f"visionline-{os.getuid()}")
    (tmp_path / "mine").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "mine")
    assert folder.folder() is None
    place.unlink()


def test_they_are_ended_by_a_command(home):
    server = home.keep()
    command = [sys.executable, "-m", "pipeline.cli.main", "stop"]
    said = [
        subprocess.run(command, env=environment(), capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert said == ["Ended 1.\n", "There is none.\n"]
    wait_until(lambda: not is_alive(server))


def test_what_is_loaded_is_compared_by_its_files(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("a = 1\n")
    state = loaded._state(str(path))
    assert state is not None
    files = {str(path): state}
    assert loaded.changed(files) == ""
    at = path.stat()
    path.write_text("a = 2\n")
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert loaded.changed(files) == str(path)
    path.unlink()
    assert loaded.changed(files) == str(path)
