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
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

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
        make_images(given.work / "images", round(size * 1000))
        with memory_group(given.limit) as procs:
            for step, (seconds, peak) in run(given.work, procs).items():
                print(f"| {size:g} GB | {step} | {seconds:.0f} | {peak / _MB:.0f} |", flush=True)


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


def run(work: Path, procs: Path | None) -> dict[str, tuple[float, float]]:
    """Runs the pipeline on `work/images`; returns seconds and peak bytes by component."""

    def join() -> None:
        if procs is not None:
            procs.write_text(str(os.getpid()))

    command = [sys.executable, "-m", "pipeline.cli.main", "run", "--data", str(work / "images")]
    command += ["--output", str(work / "out"), "--epochs", "1", "--image-size", "32"]
    command += ["--framework", "keras", "--model", "small_cnn", "--min-accuracy", "0.01"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=join)
    steps: dict[str, tuple[float, float]] = {}
    step, began = "start", time.monotonic()

    def watch() -> None:
        while child.poll() is None:
            now = time.monotonic() - began
            steps[step] = (now, max(resident(child.pid), steps.get(step, (0.0, 0.0))[1]))
            time.sleep(0.2)

    watching = threading.Thread(target=watch)
    watching.start()
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        name, _, state = line.strip().partition(": ")
        if state == "running":
            step, began = name, time.monotonic()
    watching.join()
    if child.returncode:
        sys.exit(f"The run ended with {child.returncode}:\n" + "".join(lines[-20:]))
    return steps


def resident(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = [
            int(c)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for c in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident, children))


if __name__ == "__main__":
    main()
