"""Transform, which names the image that it cannot decode."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tfx.components.transform import component
from tfx.components.transform import executor as base
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_component_specs

import tensorflow as tf  # isort: skip

from common.errors import DataError
from components.executor_io import Artifacts, Properties, split
from components.transform import decode
from modelstore import raw_example as features

_OF_THE_GRAPH = "Graph execution error", "InvalidArgumentError"


def undecodable(raw_examples: Path, size: tuple[int, int], resize: str) -> bytes | None:
    """The path of the first image in a folder of raw examples that the graph cannot decode."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])  # type: ignore[untyped-decorator]
    def decoded(encoded: tf.Tensor) -> tf.Tensor:
        return decode(encoded, *size, resize)

    spec = {n: tf.io.FixedLenFeature([], tf.string, "") for n in (features.ENCODED, features.PATH)}
    files = sorted(map(str, raw_examples.iterdir()))
    for serialised in tf.data.TFRecordDataset(files, "GZIP"):
        example = tf.io.parse_single_example(serialised, spec)
        try:
            decoded(example[features.ENCODED])
        except tf.errors.InvalidArgumentError:
            return bytes(example[features.PATH].numpy())
    return None


class Executor(base.Executor):
    """Adds a sentence for people to an error about an image, which holds the file's bytes."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        try:
            super().Do(input_dict, output_dict, exec_properties)
        except Exception as e:
            # Beam raises what it likes, with TensorFlow's words in it.
            if any(words in str(e) for words in _OF_THE_GRAPH):
                self._name_image(input_dict, exec_properties)
            raise

    def _name_image(self, input_dict: Artifacts, exec_properties: Properties) -> None:
        """Raises DataError if an image cannot be decoded."""
        key = standard_component_specs.EXAMPLES_KEY
        config = json.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        height, width = config["image_size"]
        for name in artifact_utils.decode_split_names(input_dict[key][0].split_names):
            folder = split(input_dict, key, name)
            path = undecodable(folder, (height, width), config["resize"])
            if path is not None:
                shown = os.fsencode(path).decode("utf-8", "backslashreplace")
                raise DataError(
                    f"{shown}: expected an image that TensorFlow decodes, got one that passed "
                    "ingestion and that it refuses; remove it or save it anew, and run again."
                ) from None


class Transform(component.Transform):
    """TFX's Transform."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
