"""The baseline: what is served, which a new model may not fall behind unseen.

It is looked for in the serving folder and nowhere else.  What should be compared with
and cannot be is `unusable`, and keeps the candidate from being pushed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import DataError
from modelstore.artifact import ModelCard, PushManifest, model_digest
from modelstore.versions import damage, list_versions, next_version

BASELINE_FILE = "baseline.json"
"""Of an evaluation: the `Baseline` that it compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a candidate is compared with, or why with nothing."""

    state: Literal["served", "first", "off", "unusable"]
    """served: it is compared; first: no other model was pushed; off: no comparison is
    wanted; unusable: there should be one."""
    version: str | None = None
    """`name@version`."""
    where: str | None = None
    """The version's folder."""
    digest: str | None = None
    """Of the model, see `modelstore.artifact.model_digest`."""
    why: str = ""
    """Of one that is unusable: what is wrong, and what to do."""


OFF = Baseline(state="off")
_OTHERWISE = 'or push without a comparison: --no-baseline (evaluate.baseline = "none")'


def find_baseline(folder: Path, candidate: Path) -> Baseline:
    """Finds the newest version that holds another model than the candidate.

    The candidate itself is passed over, so that a run repeated finds the same as the
    first time.  Where it is the newest, nothing will be pushed, so no version is unusable.

    Args:
      folder: `<serving>/<name>`.
      candidate: the model's directory, with its model.json.

    Raises:
      DataError: the candidate has no model.json that can be read.
    """
    new = ModelCard.read(candidate)
    try:
        digest = model_digest(candidate)
        versions = list_versions(folder)
        manifests = {v: PushManifest.find(folder / str(v)) for v in versions}
        others = [v for v, m in manifests.items() if m is None or m.model_digest != digest]
        is_served = bool(versions) and versions[-1] not in others
        for version in reversed(others):
            baseline = _compared(folder / str(version), new)
            if baseline.state == "served" or not is_served:
                return baseline
        if not versions and (highest := next_version(folder) - 1):
            return unusable(
                f"{folder.name}@{highest}",
                f"{folder} has no version any more, and there were {highest}",
                "Put the newest back",
            )
    except OSError as e:
        return unusable(folder.name, f"{e.filename or folder}: {e.strerror}", "Mend that")
    return Baseline(state="first")


def unusable(version: str, what: str, remedy: str) -> Baseline:
    why = (
        f"it could not be compared with {version}, which was pushed before: {what}. "
        f"{remedy}, {_OTHERWISE}."
    )
    return Baseline(state="unusable", version=version, why=why)


def _compared(directory: Path, new: ModelCard) -> Baseline:
    name = f"{directory.parent.name}@{directory.name}"
    if differences := damage(directory):
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        remedy = f"Restore {directory}, or remove it if nothing should be served from it"
        return unusable(name, f"it is not whole ({'; '.join(differences[:3])}{more})", remedy)
    try:
        old = ModelCard.read(directory)
    except DataError as e:
        return unusable(name, str(e), f"Restore {directory}")
    if changed := set(old.class_names) ^ set(new.class_names):
        names = ", ".join(map(repr, sorted(changed)[:5])) + (" …" if len(changed) > 5 else "")
        what = f"its classes are others ({names}), so that its accuracy says nothing here"
        return unusable(name, what, "Train with the same classes")
    return Baseline(
        state="served", version=name, where=str(directory), digest=model_digest(directory)
    )
