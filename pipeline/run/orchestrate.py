"""Runs pipelines in this process: `python -m pipeline.run.orchestrate LOG:REQUEST.json …`.

The command line starts it as a child whose output goes to a log file, so that
TFX, Beam and TensorFlow may print what they like, and so that the terminal is
alive while they are being imported.  It reports on the progress pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from common.config.strict import dump, parse
from common.errors import Exit, VisionlineError
from common.files import read_json, write_json
from common.process import given  # noqa: F401 - before any library adds to it
from common.process.progress import emit
from common.record.kinds import BASELINE, TRAINER
from common.record.run import CANCELLED, COMPLETE, FAILED, RUNNING, Run
from lineage.store.workspace import TRAINING, Workspace
from pipeline.beam_args import NO_PRISM
from pipeline.config import PipelineConfig

if TYPE_CHECKING:
    from pipeline.recording.recorder import Recorder

_RECENT = 100
"""Runs that are looked at for the same training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    run_id: str
    config: PipelineConfig


def main(*requests: str) -> int:
    """Runs the requests one after the other; stops at the first that fails.

    Args:
      requests: LOG:PATH; what is printed goes to the file descriptor LOG meanwhile.

    Returns:
      The last exit code: one that is not blessed has not failed.

    Raises:
      StoreError: the metadata store cannot be written to.
    """
    from common.process import cpus
    from components import tfx_private

    tfx_private.install_tfx_alone()
    cpus.size_pools()
    from lineage.store.mlmd import mended
    from lineage.store.setup import make_ready

    code = 0
    for index, word in enumerate(requests):
        log, _, path = word.partition(":")
        request = parse(RunRequest, read_json(Path(path)))
        _log_to(int(log))
        emit({"kind": "run", "index": index, "run_id": request.run_id})
        make_ready(request.config.store)
        with mended(Workspace(request.config.output).places):
            code = _run(request)
        if code not in (0, Exit.NOT_BLESSED):
            break
    return code


def _run(request: RunRequest) -> int:
    """Runs one pipeline and reports its result; returns the exit code."""
    # Imported here: seconds each, while the terminal already shows the table.
    from absl import logging

    from components import tfx_private
    from components.trainer import child

    config = request.config
    workspace = Workspace(config.output)
    if not _was_asked_for(request):  # so that it is hardly in the cache
        child.warm_up(config.train)
    from components.infra_validation import standby
    from pipeline import beam_args
    from pipeline.dag import (
        AFTER_TRAINER,
        BEFORE_INFRA_VALIDATOR,
        BEFORE_TRAINER,
        create_pipeline,
        infra_validation_dir,
    )
    from pipeline.recording.recorder import Recorder
    from trainers.tracking import VARIABLE

    logging.set_verbosity(logging.INFO)
    here = replace(config.run, beam_args=tuple(beam_args.counted(config.run.beam_args)))
    pipeline = create_pipeline(replace(config, run=here), workspace)
    ir = tfx_private.compile_ir(pipeline, request.run_id)
    emit({"kind": "nodes", "nodes": [c.id for c in pipeline.components if c.id != BASELINE]})

    def warm_up(node: str) -> None:
        child.discard_checkpoints()
        # Whatever is new before the Trainer makes its cache miss.
        if node in BEFORE_TRAINER:
            child.warm_up(config.train)
        # Its verdict is a new artifact, so the InfraValidator is not cached then.
        if node == BEFORE_INFRA_VALIDATOR and config.infra_validation.enabled:
            standby.warm_up(infra_validation_dir(workspace), config.infra_validation.threads)
        if node == TRAINER:  # which is another process's work
            threading.Thread(target=_import_all, args=[AFTER_TRAINER], daemon=True).start()

    training = workspace.run_dir(request.run_id) / TRAINING
    child.keep_in(training, workspace.checkpoints)
    if config.run.mlflow:
        os.environ[VARIABLE] = config.run.mlflow

    def cancel() -> None:
        recorder.interrupted()
        recorder.annotate_run(Run(state=CANCELLED))
        child.complete_curves(config.train, training)

    recorder = Recorder(pipeline.metadata_connection_config, config.pipeline_name, request.run_id)
    recorder.recover(workspace.run_ids())
    with _cancellable(cancel):
        return _recorded(request, recorder, ir, warm_up)


def _was_asked_for(request: RunRequest) -> bool:
    """Says whether an earlier run in the folder was to train the same."""
    workspace, asked = Workspace(request.config.output), dump(request.config.train)
    for run_id in sorted(workspace.run_ids() - {request.run_id})[-_RECENT:]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if read_json(workspace.run_dir(run_id) / "request.json")["config"]["train"] == asked:
                return True
    return False


def _import_all(modules: Iterable[str]) -> None:
    for module in modules:
        import_module(module)


def _recorded(
    request: RunRequest, recorder: Recorder, ir: Any, warm_up: Callable[[str], None]
) -> int:
    """Runs a compiled pipeline, from the first record of the run to the last."""
    from components import tfx_private
    from components.infra_validation import standby
    from components.trainer import child
    from pipeline.recording.cache_key import place_free
    from pipeline.recording.own_code import own_code
    from pipeline.recording.provenance import describe
    from pipeline.recording.recorder import explain, recording
    from pipeline.run import results

    config = request.config
    workspace = Workspace(config.output)
    began = time.monotonic()
    recorder.annotate_run(
        replace(
            describe(
                workspace.run_dir(request.run_id), own_code(config.train.model, config.train.input)
            ),
            pipeline=config.pipeline_name,
            config=dump(config),
            config_digest=config.digest,
            seed=config.train.seed,
            framework=config.train.framework,
            model=config.train.model,
            state=RUNNING,
        )
    )
    try:
        places = workspace.places
        with place_free(places), recording(recorder, warm_up, places):
            tfx_private.run_ir(config.run.runner, ir, [NO_PRISM])
    except Exception as e:
        error = str(recorder.failure or f"pipeline: {explain(e)}")
        seconds = time.monotonic() - began
        recorder.annotate_run(Run(state=FAILED, error=error, duration_seconds=seconds))
        emit({"kind": "result", "state": "failed", "error": error})
        return Exit.FAILED
    finally:
        standby.discard()
    child.discard_checkpoints()
    summary = results.collect(recorder, config, workspace.run_dir(request.run_id))
    summary["seconds"] = time.monotonic() - began
    recorder.annotate_run(
        Run(
            state=COMPLETE,
            duration_seconds=summary["seconds"],
            accelerator=summary["accelerator"] or None,
            dataset_digest=summary["dataset_digest"] or None,
        )
    )
    # By who started us, since nothing that we start outlives us.
    target, environment = child.warm_server(config.train)
    emit({"kind": "leave", "target": dump(target), "environment": environment})
    write_json(workspace.run_dir(request.run_id) / "summary.json", summary)
    emit({"kind": "result", "state": "complete", **summary})
    return 0 if summary["blessed"] else Exit.NOT_BLESSED


def _log_to(log: int) -> None:
    """Logs all that this process and its children print from now on; closes `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


@contextlib.contextmanager
def _cancellable(cancel: Callable[[], None]) -> Iterator[None]:
    """On SIGTERM, SIGHUP or Ctrl-C: calls `cancel`, and ends at once."""

    def end(number: int, frame: FrameType | None) -> None:
        for n in numbers:  # once is enough, see `common.process.endings`
            signal.signal(n, signal.SIG_IGN)
        with contextlib.suppress(Exception):
            cancel()
        os._exit(Exit.INTERRUPTED)  # Beam's threads cannot be stopped; children die with us

    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    # Under nohup SIGHUP is ignored.
    numbers = [n for n in wanted if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
    previous = {n: signal.signal(n, end) for n in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def preload() -> None:
    """Imports what a run needs, for `common.process.warm.server`."""
    from common.process import cpus
    from components import tfx_private

    cpus.size_pools()
    tfx_private.install_pipeline()
    import pipeline.dag
    import pipeline.run.results  # noqa: F401
    from components.component import declared
    from pipeline.recording import code_digest

    code_digest.read_ahead()
    _import_all(path.rpartition(".")[0] for path in declared())


def command(*requests: str) -> int:
    """Runs the requests as a process's only work; what is unforeseen is told as a failure."""
    # Beam takes options that it is not given from the command line.
    sys.argv[1:] = [NO_PRISM]
    try:
        return main(*requests)
    except Exception as e:
        traceback.print_exc()
        reason = str(e) if isinstance(e, VisionlineError) else f"{type(e).__name__}: {e}"
        emit({"kind": "result", "state": "failed", "error": reason})
        return Exit.FAILED


if __name__ == "__main__":
    sys.exit(command(*sys.argv[1:]))
