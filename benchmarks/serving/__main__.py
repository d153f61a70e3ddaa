"""visionline's server under load, beside the bare call, LitServe and MLServer.

    PYTHONPATH=. python -m benchmarks.serving compare
    PYTHONPATH=. python -m benchmarks.serving swap
    PYTHONPATH=. python -m benchmarks.serving soak --minutes 30
    PYTHONPATH=. python -m benchmarks.serving hostile --serving build/demo/serving

What is compared, and how, is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.serving import compare, hostile, soak, swap
from benchmarks.serving.contestants import Setting
from benchmarks.serving.prepare import MODELS


def main() -> None:
    options = _options()
    if options.what == "hostile":
        return hostile.run(options)
    options.cache.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        threads=options.threads,
        max_batch=options.max_batch,
        max_delay_ms=options.max_delay_ms,
        engine=options.engine,
        cpus=options.cpus,
        client_cpus=options.client_cpus,
    )
    {"compare": compare.run, "swap": swap.run, "soak": soak.run}[options.what](options, setting)


def _options() -> argparse.Namespace:
    every = f"0-{(os.cpu_count() or 1) - 1}"
    common = argparse.ArgumentParser(add_help=False)
    cache = Path("~/.cache/visionline-bench").expanduser()
    common.add_argument("--cache", type=Path, default=cache, help="models and environments")
    common.add_argument("--images", type=Path, help="a folder of JPEGs to send; else drawn ones")
    common.add_argument("--threads", type=int, default=1, help="of every engine")
    common.add_argument("--max-batch", type=int, default=32)
    common.add_argument("--max-delay-ms", type=float, default=1.0)
    common.add_argument("--engine", choices=["onnx", "tensorflow"], default="onnx")
    common.add_argument("--cpus", default=every, help="of the servers, for taskset")
    common.add_argument("--client-cpus", default=every, help="of the client, for taskset")
    parser = argparse.ArgumentParser(description="visionline's server under load.")
    commands = parser.add_subparsers(dest="what", required=True)
    names = [m.name for m in MODELS]
    found = commands.add_parser("compare", parents=[common], help="rates and latencies")
    found.add_argument("--models", nargs="+", default=[], metavar="NAME", help=", ".join(names))
    found.add_argument("--protocols", nargs="+", default=["v1", "file", "v2", "v2-grpc"])
    found.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--seconds", type=float, default=3.0, help="of each load")
    found.add_argument("--warm-up", type=float, default=1.0, help="seconds before each")
    found.add_argument("--no-peers", dest="peers", action="store_false")
    found = commands.add_parser("swap", parents=[common], help="pushes under load")
    found.add_argument("--model", default="small-cnn-keras", choices=names)
    found.add_argument("--concurrency", type=int, default=16)
    found.add_argument("--swaps", type=int, default=5)
    found = commands.add_parser("soak", parents=[common], help="mixed load, and memory")
    found.add_argument("--model", default="small-cnn-keras", choices=names)
    found.add_argument("--minutes", type=float, default=30.0)
    found.add_argument("--swap-minutes", type=float, default=3.0, help="between pushes")
    found = commands.add_parser("hostile", help="what one request does to all others")
    found.add_argument("--serving", type=Path, required=True, help="a folder of pushed models")
    found.add_argument("--code", type=Path, default=Path(), help="a checkout that is served from")
    found.add_argument("--clients", type=int, default=4, help="that send each body")
    found.add_argument("--seconds", type=float, default=8.0, help="for each body")
    found.add_argument("--only", nargs="+", default=[], metavar="BODY", help="these alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
