"""SchemaGen: what the train split looks like, written down to hold others to."""

from __future__ import annotations

from tfx import types
from tfx.types import standard_artifacts
from tfx.types.component_spec import ComponentSpec, ExecutionParameter

from components.component import Component, PythonExecutor, channels

CLASS_BALANCE_THRESHOLD = 0.1
"""Largest change of a class's share of the train images (L-infinity norm)."""


class SchemaGenSpec(ComponentSpec):
    PARAMETERS = {"class_balance_threshold": ExecutionParameter(type=float)}
    INPUTS = channels(statistics=standard_artifacts.ExampleStatistics)
    OUTPUTS = channels(schema=standard_artifacts.Schema)


class SchemaGen(Component):
    """Infers the schema from the train split's statistics.

    The label's classes are its domain, however many; their counts and the
    balance threshold are part of the schema, so that a frozen one is enough
    to validate later data.
    """

    SPEC_CLASS = SchemaGenSpec
    EXECUTOR_SPEC = PythonExecutor("components.schema_gen.executor.Executor")

    def __init__(
        self,
        statistics: types.BaseChannel,
        class_balance_threshold: float = CLASS_BALANCE_THRESHOLD,
    ) -> None:
        super().__init__(statistics=statistics, class_balance_threshold=class_balance_threshold)
