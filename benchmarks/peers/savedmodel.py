"""A PyTorch model natively and as the SavedModel that is exported, in turns."""

from __future__ import annotations

import json
import sys

from benchmarks.core.machine import cpus
from benchmarks.torch_savedmodel import measure, set_threads


def main(model: str, size: str, *batches: str) -> None:
    set_threads(cpus())
    rows = measure(model, int(size), [*map(int, batches)])
    found = {str(r["batch"]): [r["torch_ms"], r["torch_ms"] * r["ratio"]] for r in rows}
    print(json.dumps({"milliseconds": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
