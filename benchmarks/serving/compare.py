"""Rates and latencies: every contestant in turns, in several rounds of one run."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.serving import contestants, prepare
from benchmarks.serving.contestants import Bare, Contestant, Setting
from benchmarks.serving.prepare import LITSERVE, MLSERVER, Model, say
from benchmarks.serving.report import Figures, median, number, table

Key = tuple[str, str, int]
"""Contestant, protocol, concurrency."""


def run(options: argparse.Namespace, setting: Setting) -> None:
    models = prepare.choose(options.models)
    serving = prepare.pushed(options.cache, models)
    sent = {m.name: prepare.sent(options.cache, m, options.images) for m in models}
    pythons = {n: prepare.peer(options.cache, n) for n in (LITSERVE, MLSERVER) if options.peers}
    print(heading(options, setting), flush=True)
    for model in models:
        with ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bare = Bare(serving, {model.name: sent[model.name]}, setting, work)
            stack.callback(bare.end)
            servers = _start(stack, serving, model, setting, work, pythons)
            limits, found = _measure(bare, servers, model, sent[model.name], options, setting)
        print(limits_table(model, limits, setting))
        print(servers_table(model, limits[setting.max_batch], found, options.concurrency))


def _start(
    stack: ExitStack, serving: Path, model: Model, setting: Setting, work: Path,
    pythons: Mapping[str, Path],
) -> list[Contestant]:  # fmt: skip
    """One after the other, each put to sleep when it is ready."""
    alone = work / "serving"
    alone.mkdir()
    (alone / model.name).symlink_to(serving / model.name)
    starts = [lambda: contestants.visionline(alone, setting, work)]
    if pythons:
        starts += [
            lambda: contestants.litserve(pythons[LITSERVE], serving, model, setting, work),
            lambda: contestants.mlserver(pythons[MLSERVER], serving, [model], setting, work),
        ]
    found = []
    for start in starts:
        server = start()
        stack.callback(server.end)
        with server.awake():
            found.append(server)
    return found


def _measure(
    bare: Bare, servers: Sequence[Contestant], model: Model, images: Path,
    options: argparse.Namespace, setting: Setting,
) -> tuple[dict[int, float], dict[Key, Figures]]:  # fmt: skip
    limits: dict[int, list[float]] = defaultdict(list)
    found: dict[Key, list[Figures]] = defaultdict(list)
    for turn in range(1, options.rounds + 1):
        for concurrency in options.concurrency:
            for batch in sorted({1, min(concurrency, setting.max_batch), setting.max_batch}):
                limits[batch].append(bare.images_per_second(model.name, batch, options.seconds))
            for server in servers:
                for protocol, address in server.addresses.items():
                    if server.name == "visionline" and protocol not in options.protocols:
                        continue
                    with server.awake():
                        figures = contestants.load(
                            address, protocol, model, images, concurrency, setting,
                            warm_up=options.warm_up, seconds=options.seconds,
                        )  # fmt: skip
                    found[server.name, protocol, concurrency].append(figures)
                    say(
                        f"{model.name} round {turn}, {concurrency} at a time, {server.name} "
                        f"{protocol}: {figures.rate:.0f}/s, {figures.p50:.2f} and "
                        f"{figures.p99:.2f} ms, {figures.failed} failed, "
                        f"client {figures.cpu:.0%} of a CPU"
                    )
    return (
        {batch: statistics.median(rates) for batch, rates in limits.items()},
        {key: median(figures) for key, figures in found.items()},
    )


def heading(options: argparse.Namespace, setting: Setting) -> str:
    return (
        f"Medians of {options.rounds} rounds of {options.seconds:g} s, {options.warm_up:g} s of "
        f"warm-up before each; {processor()}, {os.cpu_count()} CPUs; servers on CPUs "
        f"{setting.cpus}, client on {setting.client_cpus}; engine {setting.engine} with "
        f"{setting.threads} thread(s), batches of at most {setting.max_batch}, delay "
        f"{setting.max_delay_ms:g} ms. Load before it began: {os.getloadavg()[0]:.1f}.\n"
    )


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    return names[0] if names else platform.machine()


def limits_table(model: Model, limits: Mapping[int, float], setting: Setting) -> str:
    rows = [
        [f"bare call, batches of {batch}", number(rate), number(1000 / rate)]
        for batch, rate in sorted(limits.items())
    ]
    title = f"{model.name} ({model.architecture}, {model.side} pixels), JPEGs of "
    return table([f"{title}{model.width}×{model.height}", "images/s", "ms each"], rows)


def servers_table(
    model: Model, limit: float, found: Mapping[Key, Figures], concurrency: Sequence[int]
) -> str:
    """A row per contestant and protocol, columns per concurrency."""
    head = [model.name]
    for clients in concurrency:
        head += [f"{clients}: req/s", "of limit", "p50 ms", "p99 ms", "p99/p50"]
    rows = []
    for name, protocol in dict.fromkeys((n, p) for n, p, _ in found):
        row = [f"{name}, {'JSON' if protocol == 'litserve' else protocol}"]
        for clients in concurrency:
            f = found[name, protocol, clients]
            failed = f" ({f.failed} failed)" if f.failed else ""
            row += [number(f.rate) + failed, f"{f.rate / limit:.2f}"]
            row += [number(f.p50), number(f.p99), f"{f.p99 / f.p50:.1f}"]
        rows.append(row)
    return table([*head, "failed"][: len(head)], rows)
