"""From a trained model to the model artifact, with the proof that all agree."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import TrainingError
from common.images.pixels import to_png
from common.process.cpus import available_cpus
from modelstore.artifact import GOLDEN, MODEL_ONNX, NATIVE
from modelstore.tasks.contract import Task
from trainers.contract import Backend, Floats, Images, Learner
from trainers.probes import drawn

PARITY_TOLERANCE = 1e-3
"""Largest allowed difference of any score (a probability) between formats."""
GOLDEN_IMAGES = 16
_WARM_UP = 3


def export(
    backend: Backend,
    learner: Learner,
    directory: Path,
    *,
    transform_graph: Path,
    class_names: tuple[str, ...],
    images_NHW3: Images,
    task: Task,
    golden: Literal["drawn", "validation"] = "drawn",
) -> dict[str, float]:
    """Writes SavedModel, ONNX and golden outputs beside `directory/native`.

    Args:
      learner: the trained model.
      directory: the artifact; its `native/` is there already.
      transform_graph: TFX's TransformGraph directory.
      images_NHW3: real images to compare the formats on; they stay here.
      golden: what golden.npz holds, which goes wherever the model does: drawn images,
        or these.

    Returns:
      Largest difference of any score from the native model's, by format.

    Raises:
      TrainingError: when one is above `PARITY_TOLERANCE`.
    """
    from modelstore import savedmodel

    native = directory / NATIVE
    images_NHW3 = np.ascontiguousarray(images_NHW3[:GOLDEN_IMAGES])
    height, width = images_NHW3.shape[1:3]
    golden_NHW3 = images_NHW3 if golden == "validation" else drawn(GOLDEN_IMAGES, (height, width))
    model = backend.load(native)
    expected_NC, scores_NC = model.predict(images_NHW3), model.predict(golden_NHW3)
    _differences({"native": learner.predict(images_NHW3)}, expected_NC)
    np.savez(directory / GOLDEN, images_NHW3=golden_NHW3, scores_NC=scores_NC)
    savedmodel.save(
        savedmodel.ServingModule(
            learner.to_tensorflow(), transform_graph, class_names, (height, width), task
        ),
        directory,
    )
    learner.to_onnx(directory / MODEL_ONNX)
    if golden == "validation":
        return check_parity(directory, images_NHW3, expected_NC)
    # On the drawn ones, too: a server refuses what differs there.
    return check_parity(
        directory,
        np.concatenate([images_NHW3, golden_NHW3]),
        np.concatenate([expected_NC, scores_NC]),
    )


def write_onnx(learner: Learner, directory: Path, images_NHW3: Images) -> float:
    """Writes ONNX alone; returns its largest difference from the trained model in any score.

    Raises:
      TrainingError: it is above `PARITY_TOLERANCE`.
    """
    learner.to_onnx(directory / MODEL_ONNX)
    (onnx_NC,) = _onnx_session(directory).run(["scores"], {"images": images_NHW3})
    return _differences({"onnx": onnx_NC}, learner.predict(images_NHW3))["onnx"]


def check_parity(directory: Path, images_NHW3: Images, expected_NC: Floats) -> dict[str, float]:
    """Compares what was written, as a server would load it, with the native scores."""
    (onnx_NC,) = _onnx_session(directory).run(["scores"], {"images": images_NHW3})
    scores = {**_savedmodel_scores(directory, images_NHW3), "onnx": onnx_NC}
    return _differences(scores, expected_NC)


def _differences(scores: dict[str, Floats], expected_NC: Floats) -> dict[str, float]:
    """Returns the largest difference of each format; raises TrainingError for too large a one."""
    parity = {k: float(np.abs(v - expected_NC).max()) for k, v in scores.items()}
    # Written so that a NaN is a failure too.
    wrong = {k: v for k, v in parity.items() if not v <= PARITY_TOLERANCE}
    if wrong:
        differences = ", ".join(f"{k} by {v:.2g}" for k, v in wrong.items())
        raise TrainingError(
            f"The exported model does not agree with the trained one: {differences}. "
            f"Expected differences of at most {PARITY_TOLERANCE:g} in any score. "
            "The model uses an operation that a format cannot express; nothing was published."
        )
    return parity


def latency(directory: Path, images_NHW3: Images) -> float:
    """Measures the milliseconds that ONNX Runtime takes for one image: the median of a few."""
    session = _onnx_session(directory)
    seconds = []
    for image_HW3 in images_NHW3[[0] * _WARM_UP + [*range(len(images_NHW3))]]:
        began = time.perf_counter()
        session.run(["scores"], {"images": image_HW3[None]})
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[_WARM_UP:]) * 1000)


def _savedmodel_scores(directory: Path, images_NHW3: Images) -> dict[str, Floats]:
    import tensorflow as tf

    from modelstore import savedmodel

    signatures = tf.saved_model.load(str(directory)).signatures
    files = tf.constant([to_png(image) for image in images_NHW3])
    tensor = signatures[savedmodel.SIGNATURE_TENSOR](images=tf.constant(images_NHW3))
    encoded = signatures[savedmodel.SIGNATURE_BYTES](images=files)
    return {
        "savedmodel": tensor[savedmodel.SCORES].numpy(),
        "savedmodel_bytes": encoded[savedmodel.SCORES].numpy(),
    }


def _onnx_session(directory: Path) -> Any:
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    return onnxruntime.InferenceSession(
        str(directory / MODEL_ONNX), options, providers=["CPUExecutionProvider"]
    )
