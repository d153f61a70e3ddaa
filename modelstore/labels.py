"""Labels of versions, such as stable and canary, and how they share the traffic.

They are kept beside the versions, in `<serving>/<name>/labels.json`, and a server
takes a change over without a restart:

    {"versions": {"stable": 3, "canary": 4}, "weights": {"stable": 90, "canary": 10}}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.config.strict import dump, parse
from common.errors import ConfigError, DataError, nearest
from common.files import read_json, write_json
from modelstore.versions import list_versions, locked

FILE = "labels.json"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    versions: dict[str, int] = field(default_factory=dict)
    """Version by label."""
    weights: dict[str, float] = field(default_factory=dict)
    """Share of the requests that name neither version nor label, by label."""

    def __post_init__(self) -> None:
        for label in self.versions:
            if not _LABEL.fullmatch(label):
                raise ConfigError(
                    "versions: expected labels of letters, digits, '.', '_' and '-', "
                    f"got {label!r}."
                )
        for label, weight in self.weights.items():
            if label not in self.versions:
                raise ConfigError(f"weights: {label!r} is no label; expected one of versions.")
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"weights.{label}: expected 0 or more, got {weight!r}.")

    def draw(self, available: Collection[int], number: float) -> int | None:
        """Returns the version for one request; None where no weighted one is available.

        Args:
          number: uniform in [0, 1).
        """
        shares = [
            (self.versions[label], weight)
            for label, weight in sorted(self.weights.items())
            if weight > 0 and self.versions[label] in available
        ]
        rest = number * sum(weight for _, weight in shares)
        for version, weight in shares:
            rest -= weight
            if rest < 0:
                return version
        return shares[-1][0] if shares else None


def read_labels(folder: Path) -> Labels:
    """Returns the labels of a model; none where there is no file.

    Raises:
      DataError: the file cannot be used.
    """
    path = folder / FILE
    try:
        return parse(Labels, read_json(path))
    except FileNotFoundError:
        return Labels()
    except (OSError, ValueError, ConfigError) as e:
        raise DataError(f"{path} is not readable: {e}") from None


def write_labels(folder: Path, labels: Labels) -> None:
    write_json(folder / FILE, dump(labels))


def change_labels(
    folder: Path,
    versions: Mapping[str, int],
    weights: Mapping[str, float] | None = None,
    remove: Collection[str] = (),
) -> Labels:
    """Changes some labels of a model, and leaves the others.

    Args:
      versions: the labels to add or to move.
      weights: all shares of the traffic; None leaves those that are there.
      remove: labels to take away, with their shares.

    Raises:
      ConfigError: a version that is not there, a label that is not known, or a weight
        that cannot be used; nothing is changed.
      DataError: the labels that are there cannot be read.
      OSError: they cannot be written; they are as they were.
    """
    with locked(folder):  # no version is removed meanwhile, and no other change lost
        now = read_labels(folder)
        there = list_versions(folder)
        for label, version in versions.items():
            if version not in there:
                raise ConfigError(
                    f"{label}={version}: {folder.name} has no version {version}. "
                    f"There are: {', '.join(map(str, there))}."
                )
        for label in remove:
            if label not in now.versions:
                raise ConfigError(
                    f"{folder.name} has no label {label!r}.{nearest(label, now.versions)}"
                )
        shares = now.weights if weights is None else weights
        changed = Labels(
            versions={k: v for k, v in {**now.versions, **versions}.items() if k not in remove},
            weights={k: v for k, v in shares.items() if k not in remove},
        )
        write_labels(folder, changed)
    return changed
