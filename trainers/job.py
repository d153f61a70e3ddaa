"""One training in a process of its own.

`python -m trainers.job JOB.json RESULT.json`, or `python -m trainers.job --wait FRAMEWORK` for
one that gets its job later.

Own memory, threads and devices; a crash or the kernel's out-of-memory kill
ends this process and not the pipeline.  The process that starts it sets the
thread variables and reads progress (`common.process.progress`) and the result.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config.strict import dump, parse
from common.errors import VisionlineError
from common.files import digest, read_json, write_json
from common.images.plain import DEPTH
from common.process import lean_imports
from common.process.parent import die_with_parent
from common.process.progress import emit
from modelstore.artifact import NATIVE, ModelCard
from modelstore.tasks import TASKS
from trainers.config import TrainConfig
from trainers.contract import Backend, Learner, load_backend
from trainers.frameworks import get_framework
from trainers.history import CHECKPOINTS
from trainers.tracking import Tracking

if TYPE_CHECKING:
    from trainers.checkpoint import Checkpoint, Checkpoints
    from trainers.data import Source, Validation

_LATER = (
    *("modelstore.savedmodel", "onnxruntime", "tensorboard.summary.writer.record_writer"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg"),
)
"""What export and curves need, for seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Everything a training needs, as paths and plain values."""

    config: TrainConfig
    train_split: str
    """Directory of arrays or, where these are streamed, of examples; see `trainers.inputs`."""
    val_split: str
    class_names: tuple[str, ...]
    transform_graph: str
    model_dir: str
    """Where the model artifact goes; created empty."""
    run_dir: str
    """Where logs, history and curves go, while it trains."""
    dataset_digest: str
    transform_digest: str
    image_size: tuple[int, int] | None = None
    """Height and width of streamed images, which have no arrays that say it."""
    depth: int = DEPTH
    """As in `modelstore.artifact.ModelCard`."""
    tracking: Tracking | None = None
    code_digest: str = ""
    """Of the code that trains: a checkpoint of other code is not gone on from."""
    checkpoint_dir: str = ""
    """Where the checkpoints of this and other trainings go; "": none are written."""


def run(job: TrainJob) -> ModelCard:
    """Trains, exports and checks one model; returns its card."""
    backend = load_backend(job.config.framework)
    accelerator = backend.configure(threads=job.config.threads, seed=job.config.seed)
    fitted = fit(backend, job, accelerator=accelerator, before=_prepare_export)
    task = TASKS[job.config.task]
    directory = Path(job.model_dir)
    emit({"kind": "stage", "stage": "export"})
    from trainers import export, loop

    parity = export.export(
        backend,
        fitted.learner,
        directory,
        transform_graph=Path(job.transform_graph),
        class_names=job.class_names,
        images_NHW3=fitted.compared_NHW3,
        task=task,
        golden=job.config.golden,
    )
    best = loop.chosen(job.config, fitted.epochs)
    card = ModelCard(
        framework=job.config.framework,
        architecture=job.config.model,
        parameter_count=fitted.learner.parameter_count,
        image_size=(fitted.compared_NHW3.shape[1], fitted.compared_NHW3.shape[2]),
        class_names=job.class_names,
        config=dump(job.config),
        seed=job.config.seed,
        accelerator=accelerator,
        versions=backend.versions(),
        dataset_digest=job.dataset_digest,
        transform_digest=job.transform_digest,
        depth=job.depth,
        metrics={
            "loss": best.loss,
            task.HEADLINE: best.metric,
            "val_loss": best.val_loss,
            f"val_{task.HEADLINE}": best.val_metric,
            "images_per_second": best.images_per_second,
            "train_seconds": fitted.seconds,
        },
        epochs_run=len(fitted.epochs),
        best_epoch=best.epoch,
        parity=parity,
        parity_tolerance=export.PARITY_TOLERANCE,
        golden=job.config.golden,
        latency_onnx_ms=export.latency(directory, fitted.compared_NHW3[: export.GOLDEN_IMAGES]),
    )
    card.write(directory)
    return card


def _prepare_export(learner: Learner) -> None:
    emit({"kind": "stage", "stage": "prepare"})
    importlib.import_module("modelstore.savedmodel")  # TensorFlow, where PyTorch trains
    learner.prepare_export()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a training came to."""

    epochs: list[Any]
    learner: Learner
    compared_NHW3: Any
    """Validation images that the exported formats are compared on."""
    seconds: float


def fit(
    backend: Backend,
    job: TrainJob,
    *,
    accelerator: str = "cpu",
    before: Callable[[Learner], None] = lambda learner: None,
) -> Fitted:
    """Trains and leaves the native model in `model_dir/native`.

    Needs the backend's own framework alone.

    Args:
      accelerator: that `backend.configure` found.
      before: called with the model before the first step.
    """
    from trainers import classes, data, distillation, export, inputs, loop
    from trainers.watching import watched

    config = job.config
    classes.NeededClasses.of(config).check(job.class_names)
    source, validation = inputs.open_splits(
        config,
        Path(job.train_split),
        Path(job.val_split),
        class_names=job.class_names,
        transform_graph=Path(job.transform_graph),
        image_size=job.image_size,
        accelerator=accelerator,
    )
    if isinstance(source, data.Split):
        teacher_NC = distillation.answers(config.distillation, source.images_NHW3, job.class_names)
        source = replace(source, teacher_NC=teacher_NC)
    learner = backend.build(config, num_classes=len(job.class_names), image_size=source.image_size)
    checkpoints, start = _checkpoints(backend, job, source, validation)
    before(learner)
    before_start = loop.Position.of(start.position).epochs if start else []
    with watched(config, Path(job.run_dir), before_start, job.tracking, _say) as after_epoch:
        epochs = loop.train(
            learner,
            config,
            source,
            validation,
            data.class_weights(config, source.labels_N, list(job.class_names)),
            report=lambda progress: emit({"kind": "progress", **progress}),
            after_epoch=after_epoch,
            checkpoints=checkpoints,
            start=start,
        )
        _say(loop.why(config, epochs))
    native = Path(job.model_dir) / NATIVE
    unfinished = native.with_name(f".{NATIVE}")
    for left in (native, unfinished):  # by an attempt that was killed in its export
        shutil.rmtree(left, ignore_errors=True)
    unfinished.mkdir(parents=True)
    learner.save(unfinished)
    unfinished.rename(native)
    compared, _ = next(validation.chunks(export.GOLDEN_IMAGES))
    return Fitted(epochs, learner, compared, sum(epoch.seconds for epoch in epochs))


def _checkpoints(
    backend: Backend, job: TrainJob, source: Source, validation: Validation
) -> tuple[Checkpoints | None, Checkpoint | None]:
    """Returns where the training is kept, and what it goes on from."""
    from trainers.checkpoint import Checkpoints
    from trainers.loop import Position

    if not job.checkpoint_dir:
        return None, None
    config = {name: value for name, value in dump(job.config).items() if name != "checkpoint"}
    labels = hashlib.sha256(source.labels_N.tobytes()).hexdigest()  # cheap, and tells most apart
    identity = {
        "config": config,
        "code": job.code_digest,
        "versions": backend.versions(),
        "classes": job.class_names,
        "data": [
            *(job.dataset_digest, job.transform_digest),
            *(source.image_size, labels, len(validation)),
        ],
    }
    folder = Path(job.checkpoint_dir, digest(identity)[:16])
    Path(job.run_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(job.run_dir, CHECKPOINTS), {"folder": str(folder)})
    checkpoints = Checkpoints(folder, job.config.checkpoint, identity, _say)
    start = checkpoints.newest()
    if start is not None:
        at, steps = Position.of(start.position), source.steps(job.config)
        where = (
            f"epoch {at.epoch}, step {(at.epoch - 1) * steps + at.step:,} of "
            f"{steps * job.config.epochs:,}"
            if start.state
            else f"its end, after epoch {len(at.epochs)}"
        )
        _say(f"The training goes on from {where} ({start.path}).")
    return checkpoints, start


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
    emit({"kind": "note", "text": text})


def command(job_path: str, result_path: str) -> int:
    """Runs the job of a file as a process's only work; writes its result to the other file."""
    die_with_parent()
    from trainers.loop import peak_memory

    result: dict[str, Any]
    try:
        card = run(parse(TrainJob, read_json(Path(job_path))))
        result = {"card": dump(card), "peak_memory_bytes": peak_memory()}
    except VisionlineError as e:
        result = {"error": str(e), "kind": type(e).__name__}
    except Exception as e:
        traceback.print_exc()
        result = {"error": explain(e), "out_of_memory": is_out_of_memory(e)}
    write_json(Path(result_path), result)
    return 1 if "error" in result else 0


def preload(framework: str) -> None:
    """Imports what a training by the framework and its export need."""
    load_backend(framework)
    chosen = get_framework(framework)
    with lean_imports.without(chosen.unused):
        for name in (*chosen.later, *_LATER):
            with contextlib.suppress(ImportError):  # said by what needs it
                importlib.import_module(name)


def wait_for_job(framework: str) -> int:
    """Imports what the framework needs, then runs the job that standard input names."""
    die_with_parent()
    preload(framework)
    line = sys.stdin.readline()
    return command(*json.loads(line)) if line else 0


def explain(error: Exception) -> str:
    """Says what an unforeseen error is."""
    reason = f"{type(error).__name__}: {error}"
    return f"Out of memory. {reason}" if is_out_of_memory(error) else reason


def is_out_of_memory(error: Exception) -> bool:
    reason = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(reason))


_NO_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate memory|\bOOM when allocating", re.IGNORECASE
)
"""How CUDA, Linux, PyTorch and TensorFlow say it in exceptions that are no MemoryError."""


if __name__ == "__main__":
    if sys.argv[1] == "--wait":
        sys.exit(wait_for_job(sys.argv[2]))
    sys.exit(command(*sys.argv[1:]))
