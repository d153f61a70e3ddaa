"""ExampleValidator that knows classes, and stops on what nobody has accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tfx import types
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema

from common.config.ranges import require
from common.config.strict import dump
from components.artifacts import IngestionReport
from components.component import Component, PythonExecutor, channels, texts
from trainers.classes import NOTHING_NEEDED, NeededClasses


class ExampleValidatorSpec(ComponentSpec):
    PARAMETERS = texts(
        *("exclude_splits", "accepted", "slices", "max_conflicting_fraction", "needed")
    )
    INPUTS = channels(statistics=ExampleStatistics, schema=Schema, report=IngestionReport)
    OUTPUTS = channels(anomalies=ExampleAnomalies)


class ExampleValidator(Component):
    """Holds every split to the schema.

    Output: `anomalies` (ExampleAnomalies), as of TFX's ExampleValidator.
    """

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = PythonExecutor("components.example_validator.executor.Executor")

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        report: types.BaseChannel,
        accepted: Iterable[str] = (),
        slices: Iterable[str] = (),
        max_conflicting_fraction: float = 0.05,
        needed: NeededClasses = NOTHING_NEEDED,
    ) -> None:
        """Makes the component.

        Args:
          report: what ingestion found.
          accepted: anomalies that do not stop the run: KINDS, or feature names.
          slices: columns that must be there, since the evaluation looks at them.
          max_conflicting_fraction: of the images, that may be there under more than one label.
          needed: what the training will ask of the classes.
        """
        require(not isinstance(accepted, str), f"accepted: expected a list, got {accepted!r}.")
        super().__init__(
            statistics=statistics,
            schema=schema,
            report=report,
            exclude_splits=json.dumps([]),
            accepted=json.dumps(sorted(accepted)),
            slices=json.dumps(sorted(slices)),
            max_conflicting_fraction=json.dumps(max_conflicting_fraction),
            needed=json.dumps(dump(needed), sort_keys=True),
        )
