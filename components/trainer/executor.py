"""Runs one training in a child process and tells why, when it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components import details
from components.trainer.shards import make_shards
from components.transform import VOCABULARY
from trainers.artifact import SERVING_FORMAT, ModelCard
from trainers.config import TrainConfig
from trainers.errors import TrainingError
from trainers.files import read_json, tree_digest, write_json
from trainers.job import TrainJob
from trainers.progress import FD_VARIABLE, emit
from trainers.strict import dump, parse


class TrainerExecutor(base_executor.BaseExecutor):
    """See `components.trainer.component.Trainer`."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        config = parse(TrainConfig, json.loads(exec_properties["config"]), "train.")
        (examples,) = input_dict["examples"]
        (raw_examples,) = input_dict["raw_examples"]
        (graph,) = input_dict["transform_graph"]
        (model,) = output_dict["model"]
        (model_run,) = output_dict["model_run"]
        emit({"kind": "stage", "stage": "shards"})
        shards, _ = make_shards(
            {s: Path(artifact_utils.get_split_uri([examples], s)) for s in ("train", "val")},
            tuple(json.loads(exec_properties["image_size"])),
            Path(exec_properties["cache_dir"]),
        )
        job = TrainJob(
            config=config,
            train_split=str(shards / "train"),
            val_split=str(shards / "val"),
            class_names=class_names(Path(graph.uri)),
            transform_graph=graph.uri,
            model_dir=os.path.join(model.uri, SERVING_FORMAT),
            run_dir=model_run.uri,
            dataset_digest=raw_examples.get_string_custom_property("dataset_digest"),
            transform_digest=tree_digest(Path(graph.uri) / "transform_fn"),
        )
        result = run_job(job, Path(model_run.uri))
        card = parse(ModelCard, result["card"])
        model.set_string_custom_property("framework", card.framework)
        model.set_string_custom_property("architecture", card.architecture)
        details.record(
            framework=card.framework,
            architecture=card.architecture,
            accelerator=card.accelerator,
            seed=card.seed,
            parameter_count=card.parameter_count,
            hyper_parameters=json.dumps(card.config, sort_keys=True),
            epochs_run=card.epochs_run,
            best_epoch=card.best_epoch,
            dataset_digest=card.dataset_digest,
            peak_memory_bytes=result["peak_memory_bytes"],
            **card.metrics,
            **{f"parity_{k}": v for k, v in card.parity.items()},
        )


def class_names(transform_graph: Path) -> tuple[str, ...]:
    """The label vocabulary of a TransformGraph, in the order of the scores."""
    path = transform_graph / "transform_fn" / "assets" / VOCABULARY
    return tuple(path.read_text(encoding="utf-8").splitlines())


def run_job(job: TrainJob, work_dir: Path) -> dict[str, Any]:
    """Runs `trainers.job` in a child process; returns its result.

    Raises:
      TrainingError: with the reason, when the child fails or is killed.
    """
    job_path, result_path = work_dir / "job.json", work_dir / "result.json"
    write_json(job_path, dump(job))
    env, inherited = _environment(job.config.threads)
    kills_before = _oom_kills()
    child = subprocess.Popen(
        [sys.executable, "-m", "trainers.job", str(job_path), str(result_path)],
        stdin=subprocess.DEVNULL,
        env=env,
        pass_fds=inherited,
    )
    try:
        _prefer_as_oom_victim(child.pid)
        code = child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if code < 0:
        raise TrainingError(_killed(-code, _oom_kills() > kills_before))
    result: dict[str, Any] = read_json(result_path) if result_path.exists() else {}
    if code or "card" not in result:
        reason = result.get("error", f"the training process ended with exit code {code}")
        raise TrainingError(f"{reason}" if "kind" in result else f"Training failed: {reason}")
    return result


def _environment(threads: int) -> tuple[Mapping[str, str], tuple[int, ...]]:
    """The child's environment, and the file descriptors it inherits."""
    count = str(threads or len(os.sched_getaffinity(0)))
    env = {
        **os.environ,
        # TensorFlow's, torch's and OpenMP's pools fight where each takes all cores.
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONUNBUFFERED": "1",
    }
    fd = os.environ.get(FD_VARIABLE)
    return env, (int(fd),) if fd else ()


def _prefer_as_oom_victim(pid: int) -> None:
    """Makes the kernel kill the training rather than the pipeline."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text("800")
    except OSError:
        logging.info("oom_score_adj of the training process could not be raised.")


def _oom_kills() -> int:
    """Processes the kernel has killed for lack of memory, as far as can be seen."""
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


def _killed(number: int, by_oom: bool) -> str:
    name = signal.Signals(number).name
    if by_oom:
        return (
            f"The kernel killed the training process for lack of memory ({name}). "
            "Try a smaller train.batch_size, image size or model."
        )
    if number == signal.SIGKILL:
        return (
            f"The training process was killed ({name}), which is what the kernel or a "
            "container does when memory runs out. Try a smaller train.batch_size, image "
            "size or model, or allow it more memory."
        )
    return f"The training process was killed by {name}; the log file has its last words."
