"""Runs pipelines in a child process and shows how they go.

The child (`pipeline.run.orchestrate`) loads TFX; this side stays light, owns the
terminal, the output folder's lock, and Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config.strict import dump, parse
from common.errors import Exit
from common.files import write_json
from common.process import progress, warden
from common.process.children import inherited
from common.process.endings import leave_dead_outputs
from common.process.timed_log import timed_logs
from common.process.warm import client
from components.evaluator.verdict import too_fine
from components.example_gen import spans
from components.example_gen.config import evaluation_split
from components.example_gen.records import Source
from components.example_gen.report import check_listed
from components.example_gen.source import list_source
from lineage.store.setup import check_writable
from lineage.store.workspace import LOG, TRAINING, Workspace, new_run_id
from pipeline.config import PipelineConfig
from pipeline.terminal import complain
from trainers import history
from trainers.classes import NeededClasses

if TYPE_CHECKING:
    from pipeline.run.display import Display

CONFIG = "config.json"
ORCHESTRATE = client.Target("pipeline.run.orchestrate")
_ROOT = Path(__file__).parents[2]
_OF_RESULT = ("kind", "state", "error")
_NO_OUTPUT = (OSError, SystemExit)
"""What showing something raises where nobody reads any more."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How one run ended."""

    state: str
    """complete, failed or interrupted."""
    summary: dict[str, Any]
    """Of a complete run, see `pipeline.run.results.collect`."""
    error: str
    log: Path
    exit_code: int = Exit.INTERRUPTED
    """Of an interrupted run: 128 and the signal's number."""

    @property
    def training(self) -> str:
        """Says what a training left that did not end well; "" for nothing."""
        return history.kept(self.log.parent / TRAINING)


def run_pipelines(configs: Sequence[PipelineConfig], display: Display) -> list[Finished]:
    """Runs pipelines one after the other, in one child; stops at one that fails.

    All of them write to one output folder and one metadata store.

    Raises:
      ConfigError: a folder's name cannot be used.
      DataError: the images are not there, or cannot be listed.
      StoreError: the metadata store cannot be written to.
      RunError: the output folder cannot be used.
    """
    shown = Once(display)
    for config in configs:
        config.check_folders()
        # Half a minute before TFX would say so.
        place = spans.resolve(config.data.path, config.data.span, config.data.version)
        source = list_source(config.data, place.path)
        check_listed(source, config.data)
        needed = NeededClasses.of(config.train)
        if not source.shards:  # whose labels only reading them tells
            needed.check({record.label for record in source.records})
        for note in (*source.notices, *too_fine(config.evaluate, _held_out(config, source))):
            shown.handle({"kind": "note", "text": note})
    workspace, store = Workspace(configs[0].output), configs[0].store
    check_writable(store)
    if (former := workspace.claim(configs[0].pipeline_name, store)) is not None:
        complain(
            f"{workspace.root} was at {former} before. What was made there is looked for here "
            "now, as after `visionline relocate`."
        )
    with workspace.lock():
        runs = [_prepare(workspace, config) for config in configs]
        return _Child(workspace, configs, runs, display, shown).run()


def title_of(config: PipelineConfig) -> str:
    """Names a run for people."""
    train = config.train
    return f"{config.name}: {train.model} ({train.framework}), data {config.data.path}"


def _held_out(config: PipelineConfig, source: Source) -> Counter[str]:
    """Returns images by class that models are judged on, where the source itself says which."""
    split = evaluation_split(config.data)
    return Counter(r.label for r in source.records if r.split == split)


def _prepare(workspace: Workspace, config: PipelineConfig) -> str:
    run_id = new_run_id()
    run_dir = workspace.run_dir(run_id)
    run_dir.mkdir(parents=True)
    write_json(run_dir / CONFIG, dump(config))
    write_json(run_dir / "request.json", {"run_id": run_id, "config": dump(config)})
    return run_id


@dataclass(slots=True)
class Once:
    """Hands events to a display, each note once; of a step from the cache none was told before."""

    _display: Display
    _notes: set[str] = field(default_factory=set)

    def handle(self, event: dict[str, Any]) -> None:
        if event["kind"] == "result":
            for text in event.get("notices", ()):
                self.handle({"kind": "note", "text": text})
        if event["kind"] != "note":
            self._display.handle(event)
        elif event["text"] not in self._notes:
            self._notes.add(event["text"])
            self._display.handle(event)


@dataclass(slots=True)
class _Child:
    _workspace: Workspace
    _configs: Sequence[PipelineConfig]
    _runs: Sequence[str]
    _display: Display
    _shown: Once
    _finished: list[Finished] = field(default_factory=list)

    def run(self) -> list[Finished]:
        with timed_logs([self._log(i) for i in range(len(self._runs))]) as logs:
            return self._run(logs)

    def _run(self, logs: Sequence[int]) -> list[Finished]:
        reading, writing = os.pipe()
        requests = [self._workspace.run_dir(r) / "request.json" for r in self._runs]
        words = [f"{log}:{request}" for log, request in zip(logs, requests, strict=True)]
        environment = _environment(writing)
        descriptors = (writing, *logs, *inherited())
        child = client.start(
            ORCHESTRATE,
            words,
            environment,
            {1: logs[0], 2: logs[0], **{number: number for number in descriptors}},
        ) or warden.start(
            # -P: a folder named pipeline/ where we are run must not hide ours.
            [sys.executable, "-P", "-m", ORCHESTRATE.module, *words],
            stdout=logs[0],
            stderr=logs[0],
            env=environment,
            pass_fds=descriptors,
        )
        os.close(writing)
        index = 0
        try:
            self._show_run(0)
            to_leave = [(ORCHESTRATE, environment)]
            for event in progress.events(reading):
                if event["kind"] == "leave":
                    to_leave.append((parse(client.Target, event["target"]), event["environment"]))
                    continue
                if event["kind"] == "run" and event["index"] != index:
                    index = event["index"]
                    self._display.stop()
                    self._show_run(index)
                if event["kind"] == "result":
                    summary = {k: v for k, v in event.items() if k not in _OF_RESULT}
                    log, error = self._log(index), event.get("error", "")
                    self._finished.append(Finished(event["state"], summary, error, log))
                self._shown.handle(event)
            code = child.wait()
            for left in to_leave:
                client.keep(*left)
        except (KeyboardInterrupt, SystemExit, OSError) as e:
            code = _exit_code(e)
            with contextlib.suppress(*_NO_OUTPUT):
                self._display.handle({"kind": "interrupted"})
            child.stop()
            self._finished.append(Finished("interrupted", {}, "", self._log(index), exit_code=code))
            return self._finished
        finally:
            child.stop()
            with contextlib.suppress(*_NO_OUTPUT):
                self._display.stop()
        explained = self._finished and self._finished[-1].state != "complete"
        if code and code != Exit.NOT_BLESSED and not explained:
            self._finished.append(Finished("failed", {}, _died(code), self._log(index)))
        return self._finished

    def _show_run(self, index: int) -> None:
        self._display.begin(title_of(self._configs[index]), f"log: {self._log(index)}")

    def _log(self, index: int) -> Path:
        return self._workspace.run_dir(self._runs[index]) / LOG


def _environment(fd: int) -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", ""), os.getcwd()]
    return {
        "TF_CPP_MIN_LOG_LEVEL": "1",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        "PYTHONUNBUFFERED": "1",
        progress.FD_VARIABLE: str(fd),
    }


def _exit_code(reason: BaseException) -> int:
    """Returns the exit code of a run that was interrupted.

    Raises:
      OSError: the reason, where it is not that nobody reads any more.
    """
    if isinstance(reason, SystemExit):
        return reason.code if isinstance(reason.code, int) else Exit.FAILED
    if isinstance(reason, OSError):
        if reason.errno not in (errno.EPIPE, errno.EIO):  # EIO: the terminal has closed
            raise reason
        leave_dead_outputs()
        return 128 + (signal.SIGPIPE if reason.errno == errno.EPIPE else signal.SIGHUP)
    return Exit.INTERRUPTED


def _died(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        hint = " Memory may have run out." if -code == signal.SIGKILL else ""
        return f"The pipeline's process was killed by {name}.{hint}"
    return f"The pipeline's process ended with exit code {code}."
