"""Mixed load for long: REST, gRPC, files, bad requests and pushes.

Whether any answer is wrong, and what memory does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.serving import contestants, prepare
from benchmarks.serving.contestants import Setting
from benchmarks.serving.prepare import ROOT, environment, say
from benchmarks.serving.report import number, percentile, slope, table
from benchmarks.serving.swap import CONFIG, push

CLIENTS = {"v1": 2, "v2": 2, "file": 2, "v2-grpc": 2, "bad": 1}
"""Connections by protocol."""
EVERY = 5.0
"""Seconds between two looks at the memory."""
KEEP = 3


def run(options: argparse.Namespace, setting: Setting) -> None:
    (model,) = prepare.choose([options.model])
    source = prepare.pushed(options.cache, [model]) / model.name / "1"
    images = prepare.sent(options.cache, model, options.images)
    seconds = options.minutes * 60
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = work / "serving" / model.name
        shutil.copytree(source, folder / "1")
        server = contestants.visionline(work / "serving", setting, work, CONFIG)
        stack.callback(server.end)
        clients = {}
        for protocol, connections in CLIENTS.items():
            command = contestants.client(
                server.addresses[protocol], protocol, model.name, images, connections, setting
            )
            clients[protocol] = subprocess.Popen(
                [*command, "--seconds", str(seconds), *(["--check"] if protocol != "bad" else [])],
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.callback(clients[protocol].kill)
        memory, swaps = _watch(server.process.pid, source, folder, options)
        found = {p: json.loads(c.communicate(timeout=120)[0]) for p, c in clients.items()}
        errors = (work / "visionline.log").read_text().count("Traceback")
    print(_load_table(found))
    print(_memory_table(memory))
    print(f"{swaps} swaps in {options.minutes:g} minutes, {errors} tracebacks in the server's log.")


def _watch(
    pid: int, source: Path, folder: Path, options: argparse.Namespace
) -> tuple[list[tuple[float, float]], int]:
    """Minutes and MB of the server, while new versions are pushed; and how many were."""
    began = time.monotonic()
    memory: list[tuple[float, float]] = []
    swaps = 0
    while (minutes := (time.monotonic() - began) / 60) < options.minutes:
        memory.append((minutes, resident(pid)))
        if minutes > (swaps + 1) * options.swap_minutes:
            version = push(source, folder)
            swaps += 1
            shutil.rmtree(folder / str(version - KEEP), ignore_errors=True)
            say(f"{minutes:.1f} min: {memory[-1][1]:.0f} MB, pushed version {version}")
        time.sleep(EVERY)
    return memory, swaps


def resident(pid: int) -> float:
    """MB of a process's memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise SystemExit(f"Process {pid} has no memory: it ended.")


def _load_table(found: dict) -> str:
    rows = []
    for protocol, result in found.items():
        times = [1000 * percentile(result["latencies"], p) for p in (50, 99)]
        count = f"{len(result['latencies']):,}"
        rows.append(
            [protocol, count, *map(number, times), str(result["failed"]), str(result["wrong"])]
        )
        if result["failures"]:
            say(f"{protocol}: {result['failures']}")
    return table(["protocol", "requests", "p50 ms", "p99 ms", "failed", "wrong"], rows)


def _memory_table(memory: list[tuple[float, float]]) -> str:
    rows = []
    for name, part in (("all", memory), ("second half", memory[len(memory) // 2 :])):
        values = [mb for _, mb in part]
        row = [name, number(values[0]), number(values[-1]), number(max(values))]
        rows.append([*row, f"{60 * slope(part):+.1f}"])
    return table(["memory (RSS)", "first MB", "last MB", "most MB", "slope, MB an hour"], rows)
