"""The bare call, in-process: the same files decoded and scored by the same engine.

Started once, and told on its input how to run: `NAME BATCH SECONDS`.  Answers with
images per second.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    serving, engine, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    folders = dict(pair.split("=", 1) for pair in sys.argv[4:])
    from serving.cli import start_lean

    start_lean()
    from serving.models.engines import Onnx, SavedModel, set_threads

    set_threads(threads)
    models = {}
    for name, folder in folders.items():
        version = serving / name / "1"
        saved = SavedModel(version)
        runner = saved if engine == "tensorflow" else Onnx(version, threads)
        images = [f.read_bytes() for f in sorted(Path(folder).glob("**/*.jp*g"))[:64]]
        models[name] = saved.decode, runner.scores, images
    print("ready", flush=True)
    for line in sys.stdin:
        name, batch, seconds = line.split()
        decode, scores, images = models[name]
        size = int(batch)
        turns = itertools.cycle(range(0, len(images) - size + 1, size))
        for _ in range(2):
            scores(np.asarray(decode(images[:size])))
        began, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < float(seconds):
            at = next(turns)
            scores(decode(images[at : at + size]))
            count += size
        print(count / spent, flush=True)


if __name__ == "__main__":
    main()
