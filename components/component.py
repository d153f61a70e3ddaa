"""Components of which their specs say everything, and what specs are made of."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types.channel import OutputChannel
from tfx.types.component_spec import ChannelParameter, ExecutionParameter


class PythonExecutor(executor_spec.ExecutorClassSpec):  # type: ignore[misc]
    """An executor by its dotted path, so that who declares a component imports none of it."""

    def __init__(self, class_path: str) -> None:
        self._class_path = class_path
        self.extra_flags: list[str] = []


class BeamExecutor(executor_spec.BeamExecutorSpec):  # type: ignore[misc]
    """The same of an executor that runs Beam pipelines."""

    def __init__(self, class_path: str) -> None:
        self._class_path = class_path
        self.extra_flags: list[str] = []
        self.beam_pipeline_args: list[str] = []


class Component(base_component.BaseComponent):
    """Takes the inputs and parameters of its `SPEC_CLASS` by name, and makes the outputs.

    TFX refuses what the spec does not know, misses or has of another type.
    """

    def __init__(self, **values: Any) -> None:
        outputs = {k: OutputChannel(p.type, self, k) for k, p in self.SPEC_CLASS.OUTPUTS.items()}
        super().__init__(self.SPEC_CLASS(**values, **outputs))


def declared() -> set[str]:
    """Returns the executors of all components that are declared by now, as dotted paths."""
    found, classes = set(), [base_component.BaseComponent]
    while classes:
        classes += (class_ := classes.pop()).__subclasses__()
        if isinstance(class_.EXECUTOR_SPEC, executor_spec.ExecutorClassSpec):
            found.add(class_.EXECUTOR_SPEC.class_path)
    return found


def texts(*names: str) -> dict[str, ExecutionParameter]:
    """Makes parameters that are texts."""
    return {name: ExecutionParameter(type=str) for name in names}


def channels(**types: Any) -> dict[str, ChannelParameter]:
    """Makes inputs or outputs of types of artifacts."""
    return {name: ChannelParameter(type=type_) for name, type_ in types.items()}
