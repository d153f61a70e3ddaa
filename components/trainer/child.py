"""Runs one training in a child process and tells why, when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from absl import logging

from common.config.strict import dump
from common.errors import OutOfMemoryError, TrainingError
from common.files import read_json, write_json
from common.process.children import inherited, start
from common.process.given import given
from common.process.progress import FD_VARIABLE, emit
from common.process.warm import client
from modelstore.artifact import NATIVE
from trainers import curves, history
from trainers.config import TrainConfig
from trainers.frameworks import get_framework
from trainers.job import TrainJob


def run_job(job: TrainJob, work_dir: Path) -> dict[str, Any]:
    """Runs `trainers.job` in a child process; returns its result.

    Raises:
      TrainingError: with the reason, and what is left, when the child fails or is killed.
    """
    try:
        return _run_job(job, work_dir)
    except OutOfMemoryError as e:
        size, lower = job.config.batch_size, job.config.batch_size // 2
        last = history.last_checkpoint(Path(job.run_dir))
        in_training = last is None or last.name != history.FINISHED
        if job.config.lower_batch_size and lower and in_training:
            emit({"kind": "note", "text": f"{e} Starting again with train.batch_size = {lower}."})
            config = replace(job.config, batch_size=lower)
            return run_job(replace(job, config=config), work_dir)
        raise _with_what_is_left(
            job,
            f"{e} Try a smaller train.batch_size (it is {size}), image size or model, or allow it "
            "more memory. With train.lower_batch_size = true it starts again by itself, with half "
            "as many images in a step.",
        ) from None
    except TrainingError as e:
        raise _with_what_is_left(job, str(e)) from None


def _with_what_is_left(job: TrainJob, reason: str) -> TrainingError:
    complete_curves(job.config, Path(job.run_dir))
    _keep_model(job)
    return TrainingError(f"{reason} {history.kept(Path(job.run_dir))}".strip())


def _keep_model(job: TrainJob) -> None:
    """Keeps a model that was trained and could not be exported."""
    native = Path(job.model_dir, NATIVE)
    if native.is_dir():
        with contextlib.suppress(OSError):  # a full disk, say
            shutil.copytree(native, Path(job.run_dir, NATIVE), dirs_exist_ok=True)


def complete_curves(config: TrainConfig, run_dir: Path) -> None:
    """Draws the last epochs of a training that ended early, if that can be."""
    with contextlib.suppress(Exception):  # a full disk, say: the figures are there without
        curves.complete(run_dir, config)


def _run_job(job: TrainJob, work_dir: Path) -> dict[str, Any]:
    job_path, result_path = work_dir / "job.json", work_dir / "result.json"
    write_json(job_path, dump(job))
    result_path.unlink(missing_ok=True)  # an earlier attempt's
    kills_before = _oom_kills()
    arguments = [str(job_path), str(result_path)]
    child = (
        _take_warm(job.config, arguments)
        or _forked(job.config, arguments)
        or _start(job.config, arguments, subprocess.DEVNULL)
    )
    try:
        _prefer_as_oom_victim(child.pid)
        code = child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if code < 0:
        raise _killed(-code, _oom_kills() > kills_before)
    result: dict[str, Any] = read_json(result_path) if result_path.exists() else {}
    if code or "card" not in result:
        reason = result.get("error", f"the training process ended with exit code {code}")
        error = OutOfMemoryError if result.get("out_of_memory") else TrainingError
        raise error(reason if "kind" in result else f"Training failed: {reason.rstrip('.')}.")
    return result


CHECKPOINTS_VARIABLE = "VISIONLINE_CHECKPOINTS"
"""Names the folder for checkpoints where there is no output folder, as on Kubeflow."""
_folder: Path | None = None
_checkpoints: Path | None = None
_ended: list[Path] = []


def keep_in(folder: Path, checkpoints: Path) -> None:
    """Has trainings write there what they can tell by then, so that it is left when they fail.

    The outputs of a component that failed are removed by TFX.

    Args:
      folder: for figures and curves, of this run.
      checkpoints: for what the next run goes on from.
    """
    global _folder, _checkpoints
    _folder, _checkpoints = folder, checkpoints


def checkpoint_dir() -> str:
    """Returns where checkpoints go; "" where nothing would find them again."""
    return str(_checkpoints or os.environ.get(CHECKPOINTS_VARIABLE, ""))


def ended(run_dir: Path) -> None:
    """Notes that a training's output is about to be published."""
    last = history.last_checkpoint(run_dir)
    if last is not None:
        _ended.append(last.parent)
    (run_dir / history.CHECKPOINTS).unlink(missing_ok=True)


def discard_checkpoints() -> None:
    """Removes the checkpoints of trainings whose output has been published."""
    while _ended:
        shutil.rmtree(_ended.pop(), ignore_errors=True)


def run_dir(output: Path) -> Path:
    """Where a training whose output goes to `output` writes while it trains."""
    return output if _folder is None else _folder


@dataclass(frozen=True, slots=True)
class _Warm:
    framework: str
    threads: int
    child: subprocess.Popen[bytes]


_warm: _Warm | None = None


def warm_up(config: TrainConfig) -> None:
    """Starts the process of a training that is to come, so that it imports meanwhile.

    Importing a framework takes as long as preparing some thousand images, and
    on another core.  The process ends by itself if it is never needed.
    """
    global _warm
    if _warm is None and not client.is_there(*warm_server(config)):
        child = _start(config, ["--wait", config.framework], subprocess.PIPE)
        _warm = _Warm(config.framework, config.threads, child)


def _take_warm(config: TrainConfig, arguments: list[str]) -> subprocess.Popen[bytes] | None:
    """Hands a job to the process that `warm_up` started, if it fits and lives."""
    global _warm
    warm, _warm = _warm, None
    if warm is None:
        return None
    assert warm.child.stdin is not None
    fits = (warm.framework, warm.threads) == (config.framework, config.threads)
    with contextlib.suppress(BrokenPipeError), warm.child.stdin as pipe:
        if fits and warm.child.poll() is None:
            pipe.write(json.dumps(arguments).encode() + b"\n")
            pipe.flush()
            return warm.child
    return None


def warm_server(config: TrainConfig) -> tuple[client.Target, dict[str, str]]:
    """Returns what `client.keep` takes to leave a server behind for such trainings."""
    # Not by `sys.path`, which libraries add to as they are imported.
    path = given().get("PYTHONPATH", "")
    return _target(config), _environment(config, given()) | {"PYTHONPATH": path}


def _forked(config: TrainConfig, arguments: list[str]) -> client.Process | None:
    """Has the job done by a process of a server's that a former run left, if there is one."""
    numbers = [1, 2, *_progress(), *inherited()]
    target, environment = warm_server(config)
    return client.start(target, arguments, environment, {number: number for number in numbers})


def _target(config: TrainConfig) -> client.Target:
    return client.Target("trainers.job", (config.framework,))


def _start(config: TrainConfig, arguments: list[str], stdin: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "trainers.job", *arguments]
    env = _environment(config, os.environ)
    return start(command, stdin=stdin, env=env, pass_fds=_progress())


def _progress() -> list[int]:
    progress = os.environ.get(FD_VARIABLE)
    return [int(progress)] if progress else []


def _environment(config: TrainConfig, ours: Mapping[str, str]) -> dict[str, str]:
    return {
        **ours,
        **get_framework(config.framework).variables(config.threads),
        "TF_CPP_MIN_LOG_LEVEL": ours.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONUNBUFFERED": "1",
    }


def _prefer_as_oom_victim(pid: int) -> None:
    """Makes the kernel kill the training rather than the pipeline."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text("800")
    except OSError:
        logging.info("oom_score_adj of the training process could not be raised.")


def _oom_kills() -> int:
    """Counts the processes the kernel has killed for lack of memory, as far as can be seen."""
    total = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            for line in Path(path).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    total += int(value)
        except OSError:
            continue
    return total


def _killed(number: int, by_oom: bool) -> TrainingError:
    name = signal.Signals(number).name
    if by_oom and number == signal.SIGKILL:
        return OutOfMemoryError(
            f"The kernel killed the training process for lack of memory ({name})."
        )
    if number == signal.SIGKILL:
        return TrainingError(
            f"The training process was killed ({name}), which is what the kernel or a "
            "container does when memory runs out. If so, try a smaller train.batch_size, image "
            "size or model, or allow it more memory."
        )
    return TrainingError(
        f"The training process was killed by {name}; the log file has its last words."
    )
