"""Every line of a log has its time, whoever printed it and however it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers import ROOT, largest_file, wait_until

from common.process import timed_log
from common.process.timed_log import timed_logs, without_times

pytestmark = pytest.mark.quick

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (.*)")
PRINTS = """
import os, subprocess, sys
print("python")
print("to stderr", file=sys.stderr)
os.write(2, b"as C++ does\\n")
subprocess.run(["sh", "-c", "echo a child; printf 'epoch 1\\\\repoch 2\\\\r\\\\n'"])
print()
os.write(1, b"h\\xc3")
os.write(1, b"\\xa1lf, \\xff and no end")
"""


def printed_by(words: list[str], log: Path) -> int:
    with timed_logs([log]) as (out,):
        return subprocess.run(words, stdout=out, stderr=out).returncode


def untimed(log: Path) -> list[str]:
    return [t for t in log.read_text("utf-8", "replace").split("\n")[:-1] if not LINE.match(t)]


def test_every_line_has_the_time_at_which_it_was_printed(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    before = datetime.now(UTC).replace(microsecond=0)
    assert printed_by([sys.executable, "-uc", PRINTS], log) == 0
    found = [LINE.fullmatch(t) for t in log.read_text("utf-8", "replace").split("\n")[:-1]]
    assert all(found), log.read_bytes()
    assert [m[2] for m in found if m] == [
        *("python", "to stderr", "as C++ does", "a child", "epoch 1", "epoch 2", ""),
        "hálf, \N{REPLACEMENT CHARACTER} and no end",
    ]
    times = [datetime.fromisoformat(m[1]) for m in found if m]
    assert times == sorted(times)
    assert before <= times[0] and times[-1] <= datetime.now(UTC)


def test_what_was_printed_comes_back_without_the_times(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    printed_by(["printf", "a\n  2026-11-28T16:07:00.123Z b\n"], log)
    assert without_times(log.read_text()) == "a\n  2026-11-28T16:07:00.123Z b\n"


@pytest.mark.parametrize("end", ["os._exit(7)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_nothing_is_lost_of_a_writer_that_ends_at_once(tmp_path: Path, end: str) -> None:
    log = tmp_path / "log.txt"
    code = f"import os\nfor n in range(20000): os.write(1, b'%d ' % n + b'x' * 90 + b'\\n')\n{end}"
    assert printed_by([sys.executable, "-c", code], log) != 0
    assert [int(t.split()[1]) for t in log.read_text().splitlines()] == list(range(20000))
    assert not untimed(log)


def test_a_second_writer_appends(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    for word in ("one", "two"):
        printed_by(["printf", word], log)
    assert without_times(log.read_text()) == "one\ntwo\n"


def test_several_logs_are_apart(tmp_path: Path) -> None:
    logs = [tmp_path / "a", tmp_path / "b"]
    with timed_logs(logs) as outs:
        for n in range(50):
            os.write(outs[n % 2], b"%d\n" % n)
    for first, log in enumerate(logs):
        assert without_times(log.read_text()).split() == [str(n) for n in range(first, 50, 2)]


SESSION = """
import subprocess, sys
from pathlib import Path
from common.process.timed_log import timed_logs
code = "import os, sys; sys.stdin.read(); [os.write(2, b'%d\\\\n' % n) for n in range(1000)]"
with timed_logs([Path(sys.argv[1])]) as (out,):
    child = subprocess.Popen([sys.executable, "-c", code], stdin=0, stdout=out, stderr=out)
    print("started", flush=True)
    child.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_writer_goes_on_where_who_started_it_was_killed(tmp_path: Path, number: int) -> None:
    log = tmp_path / "log.txt"
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(log)],
        stdin=reading, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert session.stdout is not None and session.stdout.readline() == b"started\n"
    session.send_signal(number)
    session.wait()
    os.close(reading)
    os.close(writing)  # the writer, an orphan now, prints
    wait_until(lambda: len(log.read_text().splitlines()) == 1000)
    assert not untimed(log)


def test_signals_to_everybody_do_not_end_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with timed_logs([log]) as (out,):
        os.write(out, b"before\n")
        wait_until(log.read_text)  # it has begun
        (stamper,) = children_running(timed_log.__file__)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(stamper, number)
        os.write(out, b"after\n")
    assert without_times(log.read_text()) == "before\nafter\n"
    assert not Path(f"/proc/{stamper}").exists()  # no zombie either


def test_a_full_disk_stops_no_writer_and_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    code = "import os\nfor n in range(20000): os.write(1, b'x' * 99 + b'\\n')"
    with largest_file(100_000):
        assert printed_by([sys.executable, "-c", code], log) == 0
    assert log.stat().st_size == 100_000


def test_where_lines_are_missing_the_log_says_so(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    log = timed_log._Log(writing)
    log.add(b"x" * 10**6)  # more than there is room for
    os.read(reading, 10**6)
    log.add(b"back\n")
    assert re.fullmatch(
        rb"\n\S+Z Lines are missing here: Resource temporarily unavailable\n\S+Z back\n",
        os.read(reading, 1000),
    )
    os.close(reading)
    os.close(writing)


def test_a_writer_that_was_forgotten_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed_log, "_PATIENCE_SECONDS", 0.1)
    log = tmp_path / "log.txt"
    with timed_logs([log]) as (out,):
        forgotten = subprocess.Popen(["sh", "-c", "read line; echo late"], stdin=-1, stdout=out)
    forgotten.communicate(b"\n")
    wait_until(lambda: "late" in log.read_text())


def children_running(program: str) -> list[int]:
    """Our child processes that run a program."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = folder.joinpath("stat").read_text().rpartition(")")[2].split()
            words = folder.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(status[1]) == os.getpid() and os.fsencode(program) in words:
            found.append(int(folder.name))
    return found
