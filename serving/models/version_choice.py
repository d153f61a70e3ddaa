"""Which version of a model answers a request."""

from __future__ import annotations

from common.errors import nearest
from serving.errors import UnavailableError, UnknownModelError
from serving.models.loaded import LoadedVersion
from serving.models.served import Served, Slot


def choose_version(
    model: Served, version: int | None, label: str | None, number: float
) -> tuple[Slot, LoadedVersion]:
    """Chooses what is named or labelled; else by the labels' weights; else the default.

    Args:
      number: uniform in [0, 1), for labels that share the traffic.

    Raises:
      UnknownModelError: no such version or label.
      UnavailableError: it does not answer now.
    """
    good = model.available()
    if label is not None:
        version = labelled(model, label)
    if version is None:
        version = model.labels.draw(good, number)
    if version is None:
        version = model.default()
    if version is None:
        raise UnavailableError(f"No version of {model.name} answers: {_why_none(model)}.")
    slot = model.slots.get(version)
    if slot is not None and (why := slot.error or slot.unloaded):
        raise UnavailableError(f"{model.name} version {version}: {why}")
    if slot is None or slot.state == "UNLOADING":
        there = ", ".join(map(str, good)) or "none"
        raise UnknownModelError(
            f"{model.name} has no version {version} loaded. Available: {there}."
        )
    if slot.loaded is None:
        raise UnavailableError(f"{model.name} version {version} is being loaded; try again.")
    return slot, slot.loaded


def labelled(model: Served, label: str) -> int:
    """Returns the version that has a label.

    Raises:
      UnknownModelError: none has.
    """
    versions = model.labels.versions
    if label not in versions:
        raise UnknownModelError(f"{model.name} has no label {label!r}.{nearest(label, versions)}")
    return versions[label]


def _why_none(model: Served) -> str:
    errors = [f"version {s.version}: {s.error}" for s in model.slots.values() if s.error]
    if any(s.state != "END" for s in model.slots.values()):
        return "it is being loaded"
    if model.kept_out:
        errors.append(model.kept_out_by)
    return "; ".join(errors) or "none of those that are wanted is in the folder"
