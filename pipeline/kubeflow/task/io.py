"""What Kubeflow Pipelines' launcher hands a container, and what it wants back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.files import write_atomic
from common.mounts import local_path
from pipeline.kubeflow.parts import is_part, joined
from pipeline.kubeflow.words import packed, unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An artifact's place."""

    name: str
    uri: str
    """In the object store, or a path."""

    @property
    def path(self) -> Path:
        """In this container."""
        return Path(local_path(self.uri))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskIO:
    """The launcher's ExecutorInput."""

    parameters: dict[str, Any]
    inputs: dict[str, Place]
    outputs: dict[str, Place]
    output_parameters: dict[str, Path]
    """The file that each one's value goes into."""
    output_file: Path | None
    """For the metadata of output artifacts."""
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of output artifacts, by key; the UI shows it."""

    @classmethod
    def parse(cls, text: str) -> TaskIO:
        """Reads the JSON in place of `{{$}}`.

        Raises:
          ConfigError: it is no ExecutorInput, or an artifact lies where no launcher puts one.
        """
        try:
            data = json.loads(text)
            inputs, outputs = data.get("inputs", {}), data.get("outputs", {})
            values = inputs.get("parameterValues", {})
            file = outputs.get("outputFile")
            places = _places(inputs)
            io = cls(
                parameters={k: unpacked(v) if isinstance(v, str) else v for k, v in values.items()},
                inputs={k: p for k, p in places.items() if not is_part(k)},
                outputs=_places(outputs),
                output_parameters={
                    k: Path(v["outputFile"]) for k, v in outputs.get("parameters", {}).items()
                },
                output_file=Path(file) if file else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise ConfigError(
                "--executor_input: expected the ExecutorInput of Kubeflow Pipelines as JSON. "
                "This is started by a compiled pipeline, not by hand."
            ) from None
        for place in (*io.inputs.values(), *io.outputs.values()):
            local_path(place.uri)  # refuses unknown schemes before any work is done
        io.parameters.update(joined({k: p.path for k, p in places.items()}))
        return io

    def give(self, key: str, value: str) -> None:
        """Writes an output parameter, packed as those of the spec are."""
        put(self.output_parameters[key], packed(value).encode())

    def close(self) -> None:
        """Writes the metadata of the output artifacts."""
        if self.output_file is None:
            return
        artifacts = {
            key: {
                "artifacts": [
                    {"name": place.name, "uri": place.uri, "metadata": self.metadata.get(key, {})}
                ]
            }
            for key, place in self.outputs.items()
        }
        put(self.output_file, json.dumps({"artifacts": artifacts}).encode())


def put(path: Path, data: bytes) -> None:
    """Writes a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)


def _places(side: Mapping[str, Any]) -> dict[str, Place]:
    places = {}
    for key, listed in side.get("artifacts", {}).items():
        (artifact,) = listed["artifacts"]
        places[key] = Place(name=artifact.get("name", ""), uri=artifact["uri"])
    return places
