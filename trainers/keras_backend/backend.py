"""Keras as a `trainers.contract.Backend`."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # Read by Keras when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from importlib.metadata import version
from pathlib import Path

import keras
import tensorflow as tf

from common.process.cpus import available_cpus
from trainers.config import TrainConfig
from trainers.keras_backend import models, pretrained
from trainers.keras_backend.learner import (
    KerasLearner,
    KerasPredictor,
    load_model,
    parameter_count,
)

__all__ = [
    "build",
    "configure",
    "count_parameters",
    "load",
    "versions",
]


def configure(*, threads: int, seed: int) -> str:
    """See `trainers.contract.Backend.configure`; threads 0: all it may use."""
    threads = threads or available_cpus()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))


def versions() -> dict[str, str]:
    # TensorFlow's distribution has another name without GPUs, tensorflow-cpu.
    return {
        "tensorflow": tf.__version__,
        **{name: version(name) for name in ("keras", "tf2onnx", "numpy")},
    }


def build(config: TrainConfig, *, num_classes: int, image_size: tuple[int, int]) -> KerasLearner:
    """See `trainers.contract.Backend.build`; fresh weights follow `config.seed`."""
    keras.utils.set_random_seed(config.seed)
    model = models.build(
        config.model, config.model_args, num_classes=num_classes, image_size=image_size
    )
    if config.pretrained is not None:
        pretrained.load(model, config.pretrained, num_classes)
    spec = {
        "model": config.model,
        "task": config.task,
        "test_time_augmentation": config.test_time_augmentation,
        "model_args": config.model_args,
        "num_classes": num_classes,
        "image_size": list(image_size),
    }
    return KerasLearner(model, config, spec)


def count_parameters(model: str, *, num_classes: int, image_size: tuple[int, int]) -> int:
    """See `trainers.contract.Backend.count_parameters`."""
    return parameter_count(models.build(model, {}, num_classes=num_classes, image_size=image_size))


def load(directory: Path) -> KerasPredictor:
    """See `trainers.contract.Backend.load`."""
    return KerasPredictor(*load_model(directory))
