"""Ingestion beside a bare loop that reads, decodes and writes the same images.

    PYTHONPATH=. python benchmarks/ingestion.py --images cifar10/train [--json]

The bare loop is what one writes by hand: a pool of as many threads as there are CPUs reads each
file, decodes it with Pillow, as ingestion does, makes a `tf.train.Example` of it, and one file of
TFRecords is written with TensorFlow, uncompressed and gzipped.  It hashes nothing, checks nothing,
makes no splits and no report.  Ingestion is all that stands between a folder and an Examples
artifact: driver and executor.  Both take turns in one process, after a round that does not count;
the best of each are compared.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.process.cpus import available_cpus
from components import tfx_private

_BATCH = 200
_TYPES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    images: int
    bare: Cost
    """Uncompressed TFRecords."""
    bare_gzip: Cost
    ingestion: Cost
    ratio: float
    """Of the seconds, bare to ingestion; 1: as fast."""
    cpu_ratio: float
    """Of the seconds of all CPUs."""


def main(images: Path, rounds: int = 3) -> Result:
    """Measures both on a folder of class folders."""
    tfx_private.install_pipeline()
    labelled = [(p.parent.name, p) for p in sorted(images.glob("*/*")) if p.suffix in _TYPES]
    peers: dict[str, Callable[[Path], None]] = {
        "bare": lambda folder: bare(labelled, folder, ""),
        "bare_gzip": lambda folder: bare(labelled, folder, "GZIP"),
        "ingestion": lambda folder: ingest(images, folder),
    }
    best: dict[str, Cost] = {}
    for round_, (name, peer) in itertools.product(range(rounds + 1), peers.items()):
        with tempfile.TemporaryDirectory() as folder:
            begun, cpu = time.perf_counter(), time.process_time()
            peer(Path(folder))
            cost = Cost(time.perf_counter() - begun, time.process_time() - cpu)
        if round_:
            best[name] = min(cost, best.get(name, cost), key=lambda c: c.seconds)
    return Result(
        images=len(labelled),
        **best,
        ratio=best["bare"].seconds / best["ingestion"].seconds,
        cpu_ratio=best["bare"].cpu_seconds / best["ingestion"].cpu_seconds,
    )


def bare(labelled: list[tuple[str, Path]], folder: Path, compression: str) -> None:
    import tensorflow as tf

    batches = [labelled[i : i + _BATCH] for i in range(0, len(labelled), _BATCH)]
    with (
        ThreadPoolExecutor(available_cpus()) as pool,
        tf.io.TFRecordWriter(str(folder / "examples"), compression) as writer,
    ):
        for examples in pool.map(lambda batch: [_example(*each) for each in batch], batches):
            for example in examples:
                writer.write(example)


def _example(label: str, path: Path) -> bytes:
    import tensorflow as tf
    from PIL import Image

    data = open(path, "rb").read()  # noqa: SIM115
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        width, height = image.size
    example = tf.train.Example()
    feature = example.features.feature
    feature["image/encoded"].bytes_list.value.append(data)
    feature["image/path"].bytes_list.value.append(os.fsencode(path))
    feature["image/width"].int64_list.value.append(width)
    feature["image/height"].int64_list.value.append(height)
    feature["label"].bytes_list.value.append(label.encode())
    serialised: bytes = example.SerializeToString()
    return serialised


def ingest(images: Path, folder: Path) -> None:
    from tfx.types import standard_artifacts

    from components.artifacts import IngestionReport
    from components.example_gen.config import DataConfig, to_json
    from components.example_gen.executor import Executor

    examples, report = standard_artifacts.Examples(), IngestionReport()
    examples.uri, report.uri = str(folder / "examples"), str(folder / "report")
    (folder / "report").mkdir()
    properties = {"config": to_json(DataConfig(path=str(images)))}
    Executor().Do({}, {"examples": [examples], "report": [report]}, properties)


def _rows(result: Result) -> Iterator[str]:
    yield f"| {result.images:,} images | seconds | CPU seconds |"
    yield "|---|---|---|"
    named = {
        "bare loop": result.bare,
        "bare loop, gzip": result.bare_gzip,
        "ingestion": result.ingestion,
        "bare loop ÷ ingestion": Cost(result.ratio, result.cpu_ratio),
    }
    for name, cost in named.items():
        yield f"| {name} | {cost.seconds:.2f} | {cost.cpu_seconds:.2f} |"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--images", type=Path, required=True, help="a folder of class folders")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true")
    given: Any = options.parse_args()
    measured = main(given.images, given.rounds)
    print(json.dumps(asdict(measured)) if given.json else "\n".join(_rows(measured)))
