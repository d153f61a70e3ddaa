"""How much memory each step of a run takes as the images grow.

    PYTHONPATH=. python benchmarks/memory.py --work /tmp/bench --gigabytes 1 5 --limit 4

Makes folders of so many gigabytes of JPEGs (noise, a megabyte each, no two alike) and runs
`visionline run` on each, as a whole process in a memory cgroup of so many gigabytes, which
takes root.  Prints a Markdown table: seconds and peak memory of each component, the latter
the sum of the resident memory of all processes, looked at five times a second.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.core.processes import Checkout
from benchmarks.core.runs import Run, run_visionline

_GROUPS = Path("/sys/fs/cgroup")
_MB = 10**6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--work", type=Path, required=True, help="emptied and filled")
    options.add_argument("--gigabytes", type=float, nargs="+", default=[1.0, 5.0])
    options.add_argument("--limit", type=float, help="of the memory cgroup, in gigabytes")
    given = options.parse_args()
    print("| images | step | seconds | peak memory, MB |\n|---|---|---|---|")
    for size in given.gigabytes:
        shutil.rmtree(given.work, ignore_errors=True)
        make_images(given.work / "images", count := round(size * 1000))
        with memory_group(given.limit) as procs:
            found = run(given.work, count, procs)
        for step, peak in found.memory.items():
            seconds = found.steps.get(step)
            took = "" if seconds is None else f"{seconds:.0f}"
            print(f"| {size:g} GB | {step} | {took} | {peak / _MB:.0f} |", flush=True)


def make_images(folder: Path, count: int) -> None:
    """JPEGs of 1 MB that differ in a comment, every twentieth in its pixels too."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 600, 685, 3), np.uint8)
    encoded = []
    for pixels in noise:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=95, subsampling=0)
        encoded.append(out.getvalue())
    for label in ("one", "other"):
        (folder / label).mkdir(parents=True)
    for n in range(count):
        data = encoded[n % len(encoded)]
        comment = b"\xff\xfe\x00\x0a%08d" % n
        path = folder / ("one", "other")[n % 2] / f"{n:06d}.jpg"
        path.write_bytes(data[:2] + comment + data[2:])


@contextlib.contextmanager
def memory_group(gigabytes: float | None) -> Iterator[Path | None]:
    """A cgroup, of version 1 or 2, with a limit; yields the file that takes processes in."""
    if gigabytes is None:
        yield None
        return
    first = (_GROUPS / "memory").is_dir()
    group = (_GROUPS / "memory" if first else _GROUPS) / f"visionline-{os.getpid()}"
    group.mkdir()
    limit = group / ("memory.limit_in_bytes" if first else "memory.max")
    limit.write_text(str(round(gigabytes * 1e9)))
    try:
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def run(work: Path, images: int, procs: Path | None) -> Run:
    """Runs the pipeline on `work/images`."""

    def join() -> None:
        if procs is not None:
            procs.write_text(str(os.getpid()))

    options = ["--framework", "keras", "--model", "small_cnn", "--image-size", "32"]
    options += ["--epochs", "1", "--min-accuracy", "0.01"]
    return run_visionline(
        work / "images",
        work / "out",
        options,
        images=images,
        checkout=Checkout(),
        samples_a_second=5.0,
        before=join,
    )


if __name__ == "__main__":
    main()
