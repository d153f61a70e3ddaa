"""Nothing leaves the machine that nobody asked for, and no name is looked up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import watched
from helpers import ROOT, python

from common.process import telemetry

WATCHED = """\
import socket
for ask in (
    lambda: socket.create_connection(("localhost", 1), 1),
    lambda: socket.getaddrinfo("name.example", 80),
    lambda: socket.getfqdn(),
    lambda: socket.create_connection(("169.254.169.254", 80), 1),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("203.0.113.1", 9)),
):
    try:
        ask()
    except OSError:
        pass
"""


def watch(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    done, sent = watched([sys.executable, *arguments], tmp_path / "sent.json")
    if sent is None:
        pytest.skip("network namespaces are not allowed here")
    return done, sent


def test_the_watch_sees_what_is_sent(tmp_path):
    done, sent = watch(tmp_path, "-c", WATCHED)
    assert done.returncode == 0, done.stderr
    assert sent[0] == "192.0.2.53:53 UDP name.example"
    assert sent[1].startswith(f"192.0.2.53:53 UDP {os.uname().nodename}")
    assert sent[-2:] == ["169.254.169.254:80 TCP", "203.0.113.1:9 UDP"]


def test_the_demo_sends_nothing(demo):
    if demo.sent is None:
        pytest.skip("the demo ran where network namespaces are not allowed, or before the tests")
    assert demo.sent == []


@pytest.mark.timeout(600)
def test_the_server_sends_nothing(demo, tmp_path):
    script = str(ROOT / "tests" / "support" / "network_served.py")
    arguments = (demo.serving, tmp_path / "log", demo.kept[0])
    done, sent = watch(tmp_path, script, *map(str, arguments))
    assert done.returncode == 0, done.stderr[-3000:]
    assert sent == []


@pytest.mark.slow
def test_what_onnx_runtime_would_send_shows_without_the_switch(demo, tmp_path, monkeypatch):
    """So the tests above see it if the switch no longer works."""
    for name in telemetry.OFF:  # this process has imported common
        monkeypatch.delenv(name)
    (model,) = sorted(demo.serving.glob("digits-keras/1/model.onnx"))
    code = f"import onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    # It takes some ten seconds to begin.
    done, sent = watch(tmp_path, "-c", f"import time; {code}; time.sleep(40)")
    assert done.returncode == 0, done.stderr
    assert any("microsoft" in line for line in sent)
    done, sent = watch(tmp_path, "-c", f"import common, time; {code}; time.sleep(40)")
    assert done.returncode == 0, done.stderr
    assert sent == []


@pytest.mark.parametrize(
    "module",
    [
        *("pipeline.cli.main", "pipeline.run.orchestrate", "pipeline.kubeflow.entrypoint"),
        *("modelstore.predictor", "serving.models.engines", "trainers.export", "trainers.job"),
        *("components.beam_worker", "components.infra_validation.child"),
    ],
)
def test_every_process_switches_it_off_whatever_was_set(module):
    code = f"import {module}, os; print([os.environ[n] for n in {sorted(telemetry.OFF)}])"
    asked = {name: "0" if off == "1" else "1" for name, off in telemetry.OFF.items()}
    done = python("-c", code, **asked)
    assert done.stdout.strip() == str([telemetry.OFF[n] for n in sorted(telemetry.OFF)])


@pytest.mark.parametrize("file", ["pipeline.Dockerfile", "serving.Dockerfile"])
def test_the_images_switch_it_off(file):
    text = (ROOT / "docker" / file).read_text()
    for name, value in telemetry.OFF.items():
        assert re.search(rf"\b{name}={value}\b", text), name
