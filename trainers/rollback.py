"""An older version made the latest again.

Versions never go back, so that every server that watches the folder follows: the
older one is copied into the next version, as a push would be.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trainers.artifact import PushManifest
from trainers.errors import DataError
from trainers.versions import damage, list_versions, publish, withdrawn_by


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    manifest: PushManifest
    """Of the version that was made."""
    copied: int
    """The older version that it is a copy of."""
    replaced: int
    """The version that was the latest."""


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
        to = _default(folder, versions)
    source = folder / str(to)
    old = _usable(folder, to, versions)
    left = _left(folder, [v for v in versions if v > to], old)

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

    return RolledBack(manifest=publish(source, folder, manifest), copied=to, replaced=latest)


def _default(folder: Path, versions: list[int]) -> int:
    now = _manifest(folder, versions[-1])
    for version in reversed(versions[:-1]):
        manifest = _manifest(folder, version)
        if manifest is None or (now is not None and manifest.model_digest == now.model_digest):
            continue
        by = withdrawn_by(folder, manifest.model_uri, manifest.model_digest)
        if by is None and not damage(folder / str(version)):
            return version
    raise DataError(
        f"{folder.name} has no older version to roll back to: none before {versions[-1]} is "
        "whole, holds another model and was not rolled back from. Name one with --to VERSION."
    )


def _usable(folder: Path, to: int, versions: list[int]) -> PushManifest:
    latest = versions[-1]
    if to == latest:
        raise DataError(f"{folder.name} version {to} is the latest already.")
    if to not in versions:
        raise DataError(
            f"{folder.name} has no version {to}. There are: {', '.join(map(str, versions))}."
        )
    if found := damage(folder / str(to)):
        raise DataError(
            f"{folder.name} version {to} is damaged ({'; '.join(found[:3])}); choose another."
        )
    old, now = PushManifest.read(folder / str(to)), _manifest(folder, latest)
    same = now is not None and now.checksums == old.checksums
    if same and not damage(folder / str(latest)):
        raise DataError(
            f"{folder.name} version {latest}, the latest, holds the same files as version {to}."
        )
    return old


def _left(folder: Path, versions: list[int], old: PushManifest) -> list[PushManifest]:
    """Those of versions that hold another model than the older one."""
    manifests = (_manifest(folder, version) for version in versions)
    return [m for m in manifests if m is not None and m.model_digest != old.model_digest]


def _manifest(folder: Path, version: int) -> PushManifest | None:
    try:
        return PushManifest.read(folder / str(version))
    except DataError:
        return None
