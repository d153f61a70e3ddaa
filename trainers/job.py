"""One training in a process of its own.

`python -m trainers.job JOB.json RESULT.json`, or `python -m trainers.job --wait FRAMEWORK` for
one that gets its job later.

Own memory, threads and devices; a crash or the kernel's out-of-memory kill
ends this process and not the pipeline.  The process that starts it sets the
thread variables and reads progress (`common.process.progress`) and the result.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config.strict import dump, parse
from common.errors import VisionlineError
from common.files import read_json, write_json
from common.images.plain import DEPTH
from common.process import lean_imports
from common.process.parent import die_with_parent
from common.process.progress import emit
from modelstore.artifact import NATIVE, ModelCard
from modelstore.tasks import TASKS
from trainers.config import TrainConfig
from trainers.contract import Backend, Learner, load_backend
from trainers.frameworks import get_framework
from trainers.history import CURVES, HISTORY, TENSORBOARD

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


def run(job: TrainJob) -> ModelCard:
    """Trains, exports and checks one model; returns its card."""
    backend = load_backend(job.config.framework)
    accelerator = backend.configure(threads=job.config.threads, seed=job.config.seed)
    fitted = fit(backend, job, accelerator=accelerator, before=_prepare_export)
    task = TASKS[job.config.task]
    directory = Path(job.model_dir)
    emit({"kind": "stage", "stage": "export"})
    from trainers import export

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
    best = min(fitted.epochs, key=lambda e: e.val_loss)
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
    from trainers import curves, data, export, inputs, loop

    config = job.config
    source, validation = inputs.open_splits(
        config,
        Path(job.train_split),
        Path(job.val_split),
        class_names=job.class_names,
        transform_graph=Path(job.transform_graph),
        image_size=job.image_size,
        accelerator=accelerator,
    )
    learner = backend.build(config, num_classes=len(job.class_names), image_size=source.image_size)
    before(learner)
    run_dir, headline = Path(job.run_dir), TASKS[config.task].HEADLINE
    board = curves.TensorBoardLog(run_dir / TENSORBOARD, headline)
    title = f"{config.model} ({config.framework})"
    drawing = curves.Drawing(title, run_dir / CURVES, headline)
    history: list[loop.Epoch] = []

    def after_epoch(epoch: loop.Epoch) -> None:
        history.append(epoch)
        board.write(epoch)
        write_json(run_dir / HISTORY, [e.figures(headline) for e in history])
        drawing.after_epoch(history)
        emit({"kind": "epoch", "epochs": config.epochs, **epoch.figures(headline)})

    began = time.perf_counter()
    epochs = loop.train(
        learner,
        config,
        source,
        validation,
        data.class_weights(config, source.labels_N, list(job.class_names)),
        report=lambda progress: emit({"kind": "progress", **progress}),
        after_epoch=after_epoch,
    )
    seconds = time.perf_counter() - began
    board.close()
    drawing.draw(epochs)
    native = Path(job.model_dir) / NATIVE
    unfinished = native.with_name(f".{NATIVE}")
    unfinished.mkdir(parents=True)
    learner.save(unfinished)
    unfinished.rename(native)
    compared, _ = next(validation.chunks(export.GOLDEN_IMAGES))
    return Fitted(epochs, learner, compared, seconds)


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
        result = {"error": explain(e)}
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
    """Says what an unforeseen error is, with a remedy where memory ran out."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or _NO_MEMORY.search(reason):
        return f"Out of memory: try a smaller train.batch_size or image size. {reason}"
    return reason


_NO_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate memory|\bOOM when allocating", re.IGNORECASE
)
"""How CUDA, Linux, PyTorch and TensorFlow say it in exceptions that are no MemoryError."""


if __name__ == "__main__":
    if sys.argv[1] == "--wait":
        sys.exit(wait_for_job(sys.argv[2]))
    sys.exit(command(*sys.argv[1:]))
