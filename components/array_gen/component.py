"""The component's interface."""

from __future__ import annotations

import json
from typing import Any

from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, TransformGraph

from components.artifacts import ImageArrays
from components.component import Component, PythonExecutor, channels, texts


class ArrayGenSpec(ComponentSpec):
    PARAMETERS = texts("image_size", "code_digest")
    INPUTS = channels(examples=Examples, transform_graph=TransformGraph)
    OUTPUTS = channels(arrays=ImageArrays)


class ArrayGen(Component):
    """Applies the transform graph to the images that a training reads.

    Output: `arrays` (ImageArrays).

    Args:
      examples: raw examples with the splits train and val; others are left aside.
      transform_graph: what decodes and resizes them.
      image_size: height and width that it makes them.
      code_digest: of the code that writes the arrays.
    """

    SPEC_CLASS = ArrayGenSpec
    EXECUTOR_SPEC = PythonExecutor("components.array_gen.executor.Executor")

    def __init__(self, *, image_size: tuple[int, int], **values: Any) -> None:
        super().__init__(image_size=json.dumps(image_size), **values)
