"""Pushes under load: no request may fail, and what one costs the others."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks.serving import contestants, prepare
from benchmarks.serving.contestants import Contestant, Setting
from benchmarks.serving.prepare import ROOT, environment, say
from benchmarks.serving.report import number, percentile, table
from modelstore.artifact import PushManifest
from modelstore.versions import publish

CONFIG = "poll_seconds = 0.2\n"
PAUSE = 3.0
"""Seconds without a push, before and between them."""
PROTOCOLS = ("v1", "v2-grpc")


def run(options: argparse.Namespace, setting: Setting) -> None:
    (model,) = prepare.choose([options.model])
    source = prepare.pushed(options.cache, [model]) / model.name / "1"
    images = prepare.sent(options.cache, model, options.images)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = work / "serving" / model.name
        shutil.copytree(source, folder / "1")
        server = contestants.visionline(work / "serving", setting, work, CONFIG)
        stack.callback(server.end)
        clients = {}
        for protocol in PROTOCOLS:
            times = work / f"{protocol}.json"
            command = contestants.client(
                server.addresses[protocol], protocol, model.name, images,
                options.concurrency // len(PROTOCOLS), setting,
            )  # fmt: skip
            # Ended by hand: how long the loads take is not known before.
            command += ["--seconds", "100000", "--times", str(times)]
            clients[protocol] = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
            )
        windows = []
        time.sleep(PAUSE)
        for number_ in range(options.swaps):
            began = time.monotonic()
            version = push(source, folder)
            contestants.until(lambda v=version: only(server, model.name, v), f"version {version}")
            windows.append((began, time.monotonic()))
            say(f"Swap {number_ + 1}: {windows[-1][1] - began:.1f} s")
            time.sleep(PAUSE)
        found = {}
        for protocol, process in clients.items():
            process.terminate()
            found[protocol] = json.loads(process.communicate(timeout=60)[0])
        timed = {p: json.loads((work / f"{p}.json").read_text()) for p in PROTOCOLS}
    print(_table(found, timed, windows))
    seconds = sorted(end - began for began, end in windows)
    print(f"{len(windows)} swaps, of {seconds[0]:.1f} to {seconds[-1]:.1f} s from push to drained.")


def push(source: Path, folder: Path) -> int:
    """Pushes a copy of a version; returns its number."""
    old = PushManifest.read(source)

    def manifest(version: int) -> PushManifest:
        return dataclasses.replace(old, version=version, model_uri=f"/models/{version}")

    return publish(source, folder, manifest).version


def only(server: Contestant, model: str, version: int) -> bool:
    """Whether it answers, and no other does."""
    url = f"http://{server.addresses['v1']}/v1/models/{model}"
    with urllib.request.urlopen(url, timeout=30) as response:
        found = json.load(response)["model_version_status"]
    states = {int(s["version"]): s["state"] for s in found if s["state"] != "END"}
    return states == {version: "AVAILABLE"}


def _table(found: dict, timed: dict, windows: list[tuple[float, float]]) -> str:
    rows = []
    for protocol, times in timed.items():
        swapping = [s for b, s in times if any(w <= b + s and b <= e for w, e in windows)]
        calm = [s for b, s in times if not any(w <= b + s and b <= e for w, e in windows)]
        row = [protocol, f"{len(times):,}", str(found[protocol]["failed"])]
        for part in (calm, swapping):
            row += [number(1000 * percentile(part, p)) for p in (50, 99)]
        rows.append([*row, number(1000 * max(swapping))])
    head = ["protocol", "requests", "failed", "p50 ms", "p99 ms", "p50 while swapping"]
    return table([*head, "p99 while swapping", "longest"], rows)
