"""What each task's container runs: `python -m pipeline.kubeflow.entrypoint`.

Light until it is known which task this is: finding data takes no TFX.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from common.errors import ConfigError, VisionlineError
from common.process.cpus import size_pools
from common.process.endings import end_when_told
from pipeline.kubeflow.step import RELEASE

_UMASK = 0o022
"""Argo starts containers with 0, so that anybody could change what they write on a volume."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one task; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.kubeflow.entrypoint")
    parser.add_argument("--release", required=True, help="the visionline that compiled the spec")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--find", choices=("data", "baseline", "part"))
    what.add_argument("--step", help="a pipeline.kubeflow.step.Step as JSON")
    parser.add_argument("--executor_input", required=True, help="the launcher's, as JSON")
    args = parser.parse_args(arguments)
    os.umask(_UMASK)
    end_when_told()
    try:
        _run(args)
    except VisionlineError as e:
        print(f"visionline: {e}", file=sys.stderr)
        return e.exit_code
    return 0


def _run(args: argparse.Namespace) -> None:
    from pipeline.kubeflow.task import find
    from pipeline.kubeflow.task.io import TaskIO

    if args.release != RELEASE:
        raise ConfigError(
            f"The pipeline was compiled by visionline {args.release}, and this image holds "
            f"{RELEASE}. Compile it again with the image's release, or name an image of "
            f"{args.release}."
        )
    io = TaskIO.parse(args.executor_input)
    if args.find:
        finds = {"data": find.find_data, "baseline": find.find_served, "part": find.hand_on}
        finds[args.find](io)
    else:
        from pipeline.kubeflow.task.component import run_step

        size_pools()
        run_step(args.step, io)
    io.close()


if __name__ == "__main__":
    sys.exit(main())
