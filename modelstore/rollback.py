"""An older version made the latest again.

Versions never go back, so that every server that watches the folder follows: the
older one is copied into the next version, as a push would be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.errors import DataError
from modelstore.artifact import PushManifest
from modelstore.versions import damage, list_versions, publish, withdrawn_by


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    manifest: PushManifest
    """Of the version that was made."""
    copied: int
    """The older version that it is a copy of."""
    replaced: int
    """The version that was the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An older version, and whether a rollback takes it."""

    version: int
    damage: tuple[str, ...]
    """Damaged ones are refused."""
    is_served: bool
    """Its files are those of the latest: refused, too."""
    is_same_model: bool
    """As the latest, so not taken unless it is named."""
    withdrawn_by: int | None
    """The version that rolled back from its model; then it is not taken unless named."""

    @property
    def why_refused(self) -> tuple[str, ...]:
        """Returns nothing where `--to` takes it."""
        return (*self.damage, *(["holds what is served now"] if self.is_served else []))

    @property
    def why_only_named(self) -> tuple[str, ...]:
        """Says why it is taken only where it is named; nothing: it need not be."""
        reasons = []
        if self.is_same_model and not self.is_served:
            reasons.append("the model that is served now")
        if self.withdrawn_by is not None:
            reasons.append(f"rolled back from by version {self.withdrawn_by}")
        return tuple(reasons)


def choices(folder: Path) -> Iterator[Choice]:
    """Yields every version but the latest, the newest first; each is read whole as it is reached.

    What a rollback takes is the first that is neither refused nor taken only by name.
    """
    versions = list_versions(folder)
    for version in reversed(versions[:-1]):
        yield _choice(folder, version, versions[-1])


def _choice(folder: Path, version: int, latest: int) -> Choice:
    now, old = (PushManifest.find(folder / str(v)) for v in (latest, version))
    same_files = now is not None and old is not None and now.checksums == old.checksums
    return Choice(
        version=version,
        damage=tuple(damage(folder / str(version))),
        is_served=same_files and not damage(folder / str(latest)),
        is_same_model=now is not None and old is not None and now.model_digest == old.model_digest,
        withdrawn_by=(
            None if old is None else withdrawn_by(folder, old.model_uri, old.model_digest)
        ),
    )


def taken_by_default(versions: Iterable[Choice]) -> Choice | None:
    """Returns what a rollback that names no version takes."""
    return next((c for c in versions if not c.why_refused and not c.why_only_named), None)


def roll_back(folder: Path, to: int | None = None) -> RolledBack:
    """Publishes an older version as the next one.

    Args:
      folder: `<serving>/<name>`.
      to: by default the newest whole version before the latest that holds another
        model, and one that was not itself rolled back from.

    Raises:
      DataError: there is no such version, it is damaged, or what it holds is served.
      OSError: the copy cannot be written; nothing is left behind.
    """
    versions = list_versions(folder)
    if not versions:
        raise DataError(f"No version was pushed to {folder}; there is nothing to roll back.")
    latest = versions[-1]
    if to is None:
        if (choice := taken_by_default(choices(folder))) is None:
            raise DataError(
                f"{folder.name} has no older version to roll back to: none before {latest} is "
                "whole, holds another model and was not rolled back from. Name one with "
                "--to VERSION."
            )
        to = choice.version
    old = _usable(folder, to, versions)
    newer = [PushManifest.find(folder / str(v)) for v in versions if v > to]
    left = [m for m in newer if m is not None and m.model_digest != old.model_digest]

    def manifest(version: int) -> PushManifest:
        newest = list_versions(folder)[-1]
        if newest != latest:
            raise DataError(
                f"{folder.name} version {newest} was pushed meanwhile, so nothing was rolled "
                "back. Look at `visionline versions`, then decide again."
            )
        return dataclasses.replace(
            old,
            version=version,
            pushed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            rolled_back_to=to,
            withdrawn=tuple(sorted({m.model_uri for m in left})),
            withdrawn_models=tuple(sorted({m.model_digest for m in left})),
        )

    return RolledBack(
        manifest=publish(folder / str(to), folder, manifest), copied=to, replaced=latest
    )


def _usable(folder: Path, to: int, versions: list[int]) -> PushManifest:
    latest = versions[-1]
    if to == latest:
        raise DataError(f"{folder.name} version {to} is the latest already.")
    if to not in versions:
        raise DataError(
            f"{folder.name} has no version {to}. There are: {', '.join(map(str, versions))}."
        )
    choice = _choice(folder, to, latest)
    if choice.damage:
        raise DataError(
            f"{folder.name} version {to} is damaged ({'; '.join(choice.damage[:3])}); "
            "choose another."
        )
    if choice.is_served:
        raise DataError(
            f"{folder.name} version {latest}, the latest, holds the same files as version {to}."
        )
    return PushManifest.read(folder / str(to))
