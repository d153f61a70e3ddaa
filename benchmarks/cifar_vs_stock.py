"""visionline beside a stock TFX pipeline, on the same images and the same model.

    PYTHONPATH=. python benchmarks/cifar_vs_stock.py --images cifar10/train --work /tmp/bench

Every contestant runs as a whole process on copies of the first N images of
each class folder, in turns; prints a Markdown table of seconds and of ratios
to stock TFX.  What is held equal, and what is not, is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.paths import check_folder
from common.record.record import annotated, value_of
from common.record.steps import Step

ROOT = Path(__file__).resolve().parent.parent
IMAGE_SIZE = 32
STOCK = "stock TFX"
RECORDS = "TFRecords by hand"
INGESTION = "JPEGs to Examples, together"
FIT = "of which fit"
IMPORTS = "imports and the rest"
WHOLE = "**whole process**"
CPU = "CPU time of it"
ACCURACY = "accuracy on held-out images"
ROWS = (
    *(RECORDS, "ExampleGen", INGESTION, "StatisticsGen", "SchemaGen", "ExampleValidator"),
    *("Transform", "Trainer", FIT, "Evaluator", "Pusher", IMPORTS, WHOLE, CPU),
)

Seconds = dict[str, float]


def main() -> None:
    options = _options()
    try:
        check_folder("--work", options.work)
    except ConfigError as e:
        sys.exit(str(e))
    options.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=options.work.absolute()))
    images = copy_images(options.images, work / "images", options.per_class)
    _say(f"Everything is kept in {work}.")
    warm_up(options.frameworks)
    rounds: dict[str, list[Seconds]] = {}
    for turn in range(1, options.repeats + 1):
        for name in (STOCK, *options.frameworks):
            output = work / f"{name.replace(' ', '-')}-{turn}"
            if name == STOCK:
                result = run_stock(images, output, options.epochs)
            else:
                result = run_visionline(name, images, output, options)
            _say(f"{name}: {json.dumps({k: round(v, 2) for k, v in result.items()})}")
            rounds.setdefault(name, []).append(result)
    print(heading(images, options))
    print(table({name: _medians(results) for name, results in rounds.items()}))


def copy_images(source: Path, destination: Path, per_class: int) -> Path:
    """Copies the first `per_class` JPEGs, by name, of every class folder."""
    folders = sorted(p for p in source.glob("*") if p.is_dir())
    if not folders:
        sys.exit(f"Expected a folder with one folder of JPEGs per class, found none in {source}.")
    for folder in folders:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg"))
        if len(files) < per_class:
            sys.exit(f"Expected {per_class} JPEGs in {folder}, found {len(files)}.")
        (destination / folder.name).mkdir(parents=True)
        for file in files[:per_class]:
            shutil.copyfile(file, destination / folder.name / file.name)
    return destination


def warm_up(frameworks: list[str]) -> None:
    """Reads every library once, so that the first contestant does not pay for the disk."""
    modules = ["tfx.v1", "tf2onnx", "onnxruntime"]
    modules += ["torch", "torchax", "onnxscript"] * ("pytorch" in frameworks)
    subprocess.run(
        [sys.executable, "-c", "import " + ", ".join(modules)],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def run_stock(images: Path, output: Path, epochs: int) -> Seconds:
    arguments = ["--images", str(images), "--output", str(output)]
    arguments += ["--epochs", str(epochs), "--image-size", str(IMAGE_SIZE)]
    spent = timed("benchmarks.stock.pipeline", *arguments, log=output.with_suffix(".log"))
    report = json.loads((output / "report.json").read_text("utf-8"))
    seconds = executions(output / "metadata.sqlite")
    seconds[RECORDS] = report["records_seconds"]
    return _completed(seconds, spent, report["fit_seconds"], report["accuracy"])


def run_visionline(
    framework: str, images: Path, output: Path, options: argparse.Namespace
) -> Seconds:
    log = output.with_suffix(".log")
    arguments = ["run", "--data", str(images), "--framework", framework, "--model", "small_cnn"]
    arguments += ["--epochs", str(options.epochs), "--image-size", str(IMAGE_SIZE)]
    arguments += ["--batch-size", "64", "--min-accuracy", "0.05", "--output", str(output)]
    arguments += ["--set", "data.splits={train = 0.8, val = 0.2}"]
    # The stock pipeline has plain Adam and no augmentation.
    arguments += ["--set", "train.augment.horizontal_flip=false"]
    arguments += ["--set", "train.augment.crop_padding=0.0", "--set", "train.weight_decay=0.0"]
    spent = timed("pipeline.cli.main", *arguments, log=log)
    summary = json.loads(next(output.glob("runs/*/summary.json")).read_text("utf-8"))
    seconds = executions(output / "metadata.sqlite")
    seconds = _completed(seconds, spent, summary["train_seconds"], summary["accuracy"])
    return seconds


def timed(module: str, *arguments: str, log: Path) -> Seconds:
    """Runs a module's whole process; returns its seconds by the wall clock and of the CPUs."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began, cpu = time.perf_counter(), _cpu_of_children()
    with open(log, "ab") as file:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
    if done.returncode:
        sys.exit(f"{module} ended with exit code {done.returncode}; {log} says why.")
    return {WHOLE: time.perf_counter() - began, CPU: _cpu_of_children() - cpu}


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def executions(metadata: Path) -> Seconds:
    """Seconds of each component's newest execution that really ran, by MLMD."""
    import ml_metadata
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    store = ml_metadata.MetadataStore(config)
    names = {t.id: t.name.rpartition(".")[2] for t in store.get_execution_types()}
    seconds = {}
    for execution in sorted(store.get_executions(), key=lambda e: e.id):
        name = names[execution.type_id]
        if execution.last_known_state == mlmd.Execution.COMPLETE:
            seconds["ExampleGen" if "ExampleGen" in name else name] = _duration(execution)
    return seconds


def _duration(execution: Any) -> float:
    # visionline's executions are annotated later, so their last update is no end.
    seconds = value_of(annotated(execution), Step.duration_seconds)
    if seconds is not None:
        return seconds
    begun, ended = execution.create_time_since_epoch, execution.last_update_time_since_epoch
    return float(ended - begun) / 1000


def _completed(seconds: Seconds, spent: Seconds, fit: float, accuracy: float) -> Seconds:
    ingestion = seconds.get(RECORDS, 0.0) + seconds["ExampleGen"]
    rest = spent[WHOLE] - sum(seconds.values())
    return {**seconds, **spent, INGESTION: ingestion, FIT: fit, IMPORTS: rest, ACCURACY: accuracy}


def _medians(results: list[Seconds]) -> Seconds:
    return {key: statistics.median(r[key] for r in results) for key in results[0]}


def heading(images: Path, options: argparse.Namespace) -> str:
    """What was measured, on what."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tfx", "tensorflow", "keras", "torch")
    )
    classes = sum(1 for _ in images.iterdir())
    return (
        f"{classes * options.per_class:,} JPEGs ({options.per_class:,} in each of {classes}"
        f" classes), {IMAGE_SIZE}×{IMAGE_SIZE}, small_cnn, {options.epochs} epoch(s), batch 64;"
        f" median of {options.repeats} run(s).\n"
        f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs;"
        f" Python {platform.python_version()}, {versions}.\n"
    )


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(results: dict[str, Seconds]) -> str:
    """Markdown: seconds of each contestant, and ratios to stock TFX."""
    stock, *ours = results
    head = [stock, *(cell for name in ours for cell in (name, "ratio"))]
    lines = ["| seconds | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for row in ROWS:
        if not any(row in seconds for seconds in results.values()):
            continue
        peer = results[stock].get(row)
        cells = [_number(results[stock].get(row))]
        for name in ours:
            own = results[name].get(row)
            cells += [_number(own), f"{own / peer:.2f}" if own is not None and peer else "–"]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    scores = [f"{results[stock][ACCURACY]:.3f}"]
    scores += [cell for name in ours for cell in (f"{results[name][ACCURACY]:.3f}", "")]
    lines.append(f"| {ACCURACY} | " + " | ".join(scores) + " |")
    return "\n".join(lines)


def _number(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG class folders")
    parser.add_argument("--per-class", type=int, default=1000, help="images of each class")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument(
        "--frameworks", nargs="+", default=["keras", "pytorch"], choices=["keras", "pytorch"]
    )
    parser.add_argument("--repeats", type=int, default=1, help="runs of each; medians are printed")
    parser.add_argument("--work", type=Path, required=True, help="where everything is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
