"""Questions about lineage on growing stores, each as a whole process.

    PYTHONPATH=. python benchmarks/lineage.py --work /tmp/bench

Makes the stores that are not there yet (see lineage_stores.py), asks each question as
`visionline lineage …` from a pipe, and prints Markdown tables: medians, and how much
longer the question takes in the largest store than in the smallest.  Then the same
questions within a process, through visionline's two readers and, for one model,
through MLMD's get_lineage_subgraph.  Files are in the page cache: every question is
asked once before it is timed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lineage_stores import generate
from lineage.graph.pushed import known_pushes, pushes
from lineage.questions.model import model_lineage
from lineage.store.connection import Connection
from lineage.store.opening import open_reader

ROOT = Path(__file__).resolve().parent.parent
HELP = "`--help`"
REFERENCED = ("model", "runs", "affected", "diff")
LIMIT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about in one store: from the middle of its history, and the newest."""

    metadata: Path
    runs: int
    model: str
    """name@version"""
    newest: str
    name: str
    run: str
    span: int


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float
    cpu: float


def main() -> None:
    options = _options()
    subjects = [prepare(options.work, runs) for runs in sorted(options.runs)]
    print(heading(subjects, options.repeats))
    costs = {
        label: [process(arguments(s), s, options.repeats) for s in subjects]
        for label, arguments in QUESTIONS.items()
    }
    print(process_table(subjects, costs))
    if options.reference:
        print(reference_table(subjects))


def prepare(work: Path, runs: int) -> Subject:
    """Makes a store, unless it is there, and picks what to ask about."""
    metadata = work / str(runs) / "metadata.sqlite"
    if not metadata.exists():
        _say(f"Making a store of {runs:,} runs …")
        generate(metadata.parent, runs)
    reader = open_reader(Connection.parse(str(metadata)))
    every = pushes(reader)
    middle = every[len(every) // 2]
    model = f"{middle.name}@{middle.version}"
    newest = max(known_pushes(reader, middle.name), key=lambda p: p.order)
    lineage = model_lineage(reader, model)
    span, run = lineage.data[0].span, lineage.run
    reader.close()
    if span is None or run is None:
        raise SystemExit(f"{metadata} was not made by this benchmark.")
    return Subject(
        metadata=metadata,
        runs=runs,
        model=model,
        newest=f"{newest.name}@{newest.version}",
        name=middle.name,
        run=run.run_id,
        span=span,
    )


QUESTIONS: dict[str, Callable[[Subject], list[str]]] = {
    HELP: lambda s: ["--help"],
    "`model NAME@VERSION`": lambda s: ["model", s.model],
    "`runs --limit 20`": lambda s: ["runs", "--limit", "20"],
    "`affected --span N`": lambda s: ["affected", "--span", str(s.span)],
    "`diff A B`": lambda s: ["diff", s.model, s.newest],
    "`model NAME` (the latest)": lambda s: ["model", s.name],
    "`run RUN`": lambda s: ["run", s.run],
    "`runs --state failed`": lambda s: ["runs", "--state", "failed"],
    "`history NAME`": lambda s: ["history", s.name],
    "`served`": lambda s: ["served"],
    "`why-not-blessed NAME@VERSION`": lambda s: ["why-not-blessed", s.model],
    "`rollback-candidates NAME`": lambda s: ["rollback-candidates", s.name],
    "`explain-cache RUN Trainer`": lambda s: ["explain-cache", s.run, "Trainer"],
}
FOUND = (0, 4)
"""Exit codes of an answer: 4 says that there is nothing of the kind."""


def process(words: list[str], subject: Subject, repeats: int) -> Cost:
    """The median of a whole process, asked once more before."""
    if words != ["--help"]:
        words += ["--metadata", str(subject.metadata)]
    command = [sys.executable, "-P", "-m", "pipeline.cli.main", "lineage", *words]
    found = []
    for _ in range(repeats + 1):
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        seconds, after = time.perf_counter() - began, os.times()
        if done.returncode not in FOUND:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        cpu = after.children_user + after.children_system
        found.append(Cost(seconds, cpu - before.children_user - before.children_system))
    timed = found[1:]
    return Cost(
        statistics.median(c.seconds for c in timed), statistics.median(c.cpu for c in timed)
    )


def reference_table(subjects: list[Subject]) -> str:
    """Within a process, once each: the readers, and MLMD's own question."""
    rows = []
    for question in REFERENCED:
        words = {s.runs: QUESTIONS_IN_PROCESS[question](s) for s in subjects}
        for way in ("sql", "mlmd"):
            found = [_asked(s, way, question, *words[s.runs]) for s in subjects]
            rows.append([f"{question}, {READERS[way]}", *(_seconds(f["seconds"]) for f in found)])
    found = [_asked(s, "subgraph", "model", s.model) for s in subjects]
    rows.append(["get_lineage_subgraph", *(_seconds(f["seconds"]) for f in found)])
    rows.append(["executions it returns", *(f"{f['executions']:,}" for f in found)])
    rows.append(["executions `model` names", *(str(_producers(s)) for s in subjects)])
    return _markdown(["seconds, within a process", *(f"{s.runs:,}" for s in subjects)], rows)


READERS = {"sql": "SQL", "mlmd": "MLMD's library"}
QUESTIONS_IN_PROCESS: dict[str, Callable[[Subject], list[str]]] = {
    "model": lambda s: [s.model],
    "runs": lambda s: [],
    "affected": lambda s: [str(s.span)],
    "diff": lambda s: [s.model, s.newest],
}


def _asked(subject: Subject, way: str, question: str, *words: str) -> dict[str, Any]:
    """Asked twice, in two processes; the second counts."""
    module = "benchmarks.lineage_reference"
    command = [sys.executable, "-m", module, str(subject.metadata), way, question, *words]
    for _ in range(2):
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _producers(subject: Subject) -> int:
    reader = open_reader(Connection.parse(str(subject.metadata)))
    try:
        return len(model_lineage(reader, subject.model).producers)
    finally:
        reader.close()


def process_table(subjects: list[Subject], costs: dict[str, list[Cost]]) -> str:
    growth = subjects[-1].runs / subjects[0].runs
    head = ["seconds, whole process", *(f"{s.runs:,} runs" for s in subjects)]
    head += [f"growth (store: {growth:g})", "CPU seconds, largest"]
    rows = [
        [
            label,
            *(_seconds(c.seconds) for c in found),
            f"{found[-1].seconds / found[0].seconds:.2f}",
            _seconds(found[-1].cpu),
        ]
        for label, found in costs.items()
    ]
    return _markdown(head, rows)


def heading(subjects: list[Subject], repeats: int) -> str:
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("ml-metadata", "typer")]
    load = os.getloadavg()[0]
    lines = [
        f"Median of {repeats} processes, page cache warm; {_processor()}, {os.cpu_count()} CPUs; "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{', '.join(versions)}. Load before it began: {load:.1f}.",
        "",
        _markdown(
            ["store", *(f"{s.runs:,} runs" for s in subjects)],
            [
                ["MB", *(f"{s.metadata.stat().st_size / 1e6:,.0f}" for s in subjects)],
                *(
                    [table.lower() + "s", *(f"{_count(s.metadata, table):,}" for s in subjects)]
                    for table in ("Execution", "Artifact", "Event", "Association")
                ),
            ],
        ),
    ]
    return "\n".join(lines)


def _count(path: Path, table: str) -> int:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        (found,) = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        return int(found)
    finally:
        database.close()


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Questions about lineage, on growing stores.")
    parser.add_argument("--work", type=Path, required=True, help="where the stores are, or go")
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--no-reference",
        dest="reference",
        action="store_false",
        help="only visionline's commands",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
