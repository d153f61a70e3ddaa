"""Which version of a model is deployed, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.config.ranges import require
from common.errors import DataError
from common.files import walk_files
from modelstore.artifact import PushManifest
from modelstore.versions import damage, list_versions
from pipeline.deploy.config import DeployConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What an InferenceService serves."""

    name: str
    """In the serving folder."""
    version: int | None
    """None: whichever is the latest, as pushes come."""
    manifest: PushManifest | None
    """Of the version, where the serving folder can be read here."""
    size: int | None = None
    """Bytes of the files that are served at a time, where they can be read here."""


def choose(config: DeployConfig, name: str, folder: Path | None) -> Model:
    """Decides the version.

    Args:
      folder: `<serving>/<name>` on this machine; None where there is none.

    Raises:
      ConfigError: the version must be named, and is not.
      DataError: the version is not in the folder, or damaged there.
    """
    version = config.version
    if version is None and not config.place.is_claim:
        versions = [] if folder is None else list_versions(folder)
        require(
            bool(versions),
            f"version: expected one for {config.storage}, which is copied when a pod starts: "
            "without, pods of one service can serve different versions. Name it with --version, "
            "or the local serving folder with --serving, whose latest is taken.",
        )
        version = versions[-1]
    require(
        version is not None or config.canary_percent is None,
        "canary_percent: expected a version, too (--version): the revisions that share the "
        "traffic must not serve the same, and without one both serve the latest.",
    )
    if folder is None:
        return Model(name=name, version=version, manifest=None)
    manifest = None if version is None else _manifest(folder, version)
    return Model(name=name, version=version, manifest=manifest, size=_size(config, folder, version))


def _size(config: DeployConfig, folder: Path, version: int | None) -> int | None:
    there = list_versions(folder)
    if version is not None:
        served = [version]
    elif config.runtime == "visionline" and config.served.default.policy != "latest":
        served = there
    else:
        served = there[-1:]
    files = [f for v in served for f in walk_files(folder / str(v))]
    return sum(f.stat().st_size for f in files) if files else None


def _manifest(folder: Path, version: int) -> PushManifest:
    versions = list_versions(folder)
    if version not in versions:
        listed = ", ".join(map(str, versions)) or "none"
        raise DataError(f"{folder} has no version {version}. There are: {listed}.")
    if problems := damage(folder / str(version)):
        raise DataError(f"{folder.name} version {version} is damaged ({'; '.join(problems)}).")
    return PushManifest.read(folder / str(version))
