"""The ImageExampleGen component."""

from __future__ import annotations

import inspect

from tfx.dsl.components.base import base_beam_component
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples

from common.files import digest
from common.images import bare, deep, exif, pixels, plain, png_pixels, segments
from components.artifacts import IngestionReport
from components.component import BeamExecutor, Component, channels, texts
from components.example_gen.config import DataConfig, to_json
from components.example_gen.driver import CONFIG, ENGINE, THREADS, Driver

_PIXELS = (bare, deep, exif, pixels, plain, png_pixels, segments)
"""What is done to a file's bytes."""


class ImageExampleGenSpec(ComponentSpec):
    PARAMETERS = texts(CONFIG, "code_digest", ENGINE)
    INPUTS = channels()
    OUTPUTS = channels(examples=Examples, report=IngestionReport)


class ImageExampleGen(Component, base_beam_component.BaseBeamComponent):
    """Labelled images → Examples of the raw-example contract, and a report.

    Outputs: `examples` (Examples) and `report` (IngestionReport).

    Args:
      engine: THREADS of the process that runs it, or BEAM.
    """

    SPEC_CLASS = ImageExampleGenSpec
    EXECUTOR_SPEC = BeamExecutor("components.example_gen.executor.Executor")
    DRIVER_CLASS = Driver

    def __init__(self, config: DataConfig, engine: str = THREADS) -> None:
        super().__init__(
            config=to_json(config),
            engine=engine,
            # Examples that were normalised in another way are not taken from the cache.
            # So are those that a reader which is installed now would read.
            code_digest=digest([*pixels.READABLE, *map(inspect.getsource, _PIXELS)]),
        )
