"""Writes the arrays of the splits that a training reads."""

from __future__ import annotations

import json

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.array_gen.arrays import write_arrays
from components.executor_io import Artifacts, Properties, folder, one, split
from trainers.decoder import Decoder

SPLITS = ["train", "val"]


class Executor(base_executor.BaseExecutor):
    """See `components.array_gen.component.ArrayGen`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        height, width = json.loads(exec_properties["image_size"])
        decoder = Decoder(folder(input_dict, "transform_graph"), (height, width))
        one(output_dict, "arrays").split_names = artifact_utils.encode_split_names(SPLITS)
        for name in SPLITS:
            target = split(output_dict, "arrays", name)
            target.mkdir(parents=True, exist_ok=True)
            write_arrays(split(input_dict, "examples", name), decoder, target)
