"""TFX's Trainer: tf.data from the transformed examples, Keras, a SavedModel."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from keras import layers
from tfx.components.trainer.fn_args_utils import DataAccessor, FnArgs
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

from benchmarks.stock.records import IMAGE, LABEL

BATCH_SIZE = 64


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports; writes how long the fit took to `custom_config["report"]`."""
    config = fn_args.custom_config
    transform = tft.TFTransformOutput(fn_args.transform_output)
    train = _dataset(fn_args.train_files, fn_args.data_accessor, transform)
    evaluation = _dataset(fn_args.eval_files, fn_args.data_accessor, transform)
    model = small_cnn(config["num_classes"], config["image_size"])
    model.compile(
        optimizer=tf.keras.optimizers.Adam(1e-3),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
    )
    began = time.perf_counter()
    history = model.fit(
        train,
        epochs=config["epochs"],
        validation_data=evaluation,
        callbacks=[tf.keras.callbacks.TensorBoard(fn_args.model_run_dir, update_freq="epoch")],
        verbose=2,
    ).history
    report = {
        "fit_seconds": time.perf_counter() - began,
        "accuracy": history["val_sparse_categorical_accuracy"][-1],
    }
    Path(config["report"]).write_text(json.dumps(report), encoding="utf-8")
    # Keeps the layer's files with the model that is saved.
    model.transform_layer = transform.transform_features_layer()
    signature = tf.TensorSpec([None], tf.string, name="examples")
    serve = _serving_fn(model, transform).get_concrete_function(signature)
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures={"serving_default": serve})


def small_cnn(num_classes: int, image_size: int) -> tf.keras.Model:
    """The layers of visionline's `small_cnn`."""
    images = tf.keras.Input((image_size, image_size, 3), name=f"{IMAGE}_xf")
    x = images
    for filters in (32, 64, 128):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        x = layers.MaxPooling2D(2)(layers.ReLU()(x))
    logits = layers.Dense(num_classes)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(images, logits)


def _dataset(
    files: list[str], accessor: DataAccessor, transform: tft.TFTransformOutput
) -> tf.data.Dataset:
    options = TensorFlowDatasetOptions(batch_size=BATCH_SIZE, num_epochs=1, label_key=f"{LABEL}_xf")
    dataset = accessor.tf_dataset_factory(files, options, transform.transformed_metadata.schema)
    return dataset.map(lambda features, label: (features[f"{IMAGE}_xf"], label)).prefetch(
        tf.data.AUTOTUNE
    )


def _serving_fn(model: Any, transform: tft.TFTransformOutput) -> Callable[..., Any]:
    @tf.function
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = transform.raw_feature_spec()
        spec.pop(LABEL)  # requests have none
        features = model.transform_layer(tf.io.parse_example(examples, spec))
        return {"probabilities": tf.nn.softmax(model(features[f"{IMAGE}_xf"], training=False))}

    return serve
