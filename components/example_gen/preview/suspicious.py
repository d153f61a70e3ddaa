"""Class names and counts that a person would ask about before training."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from components.example_gen.folders.names import is_part, is_system, split_named

IMBALANCE = 20
"""A class with so many times the images of another is mentioned."""
_COPY = re.compile(r"^copy of |( - copy)?( ?\(\d+\))?$")
"""What file managers add to the name of a copy."""
_ACCENT = re.compile("[\u0300-\u036f]")
"""Of Latin letters and their like; other scripts need theirs."""
_SEPARATOR = re.compile(
    r"(?<=[^\W\d_])[\s_.-]+(?=[^\W_])|(?<=\d)[\s_.-]+(?=[^\W\d_])"  # not between two digits
)
_NUMBER = re.compile(r"\d+(\.0+)?")
_CONTAINERS = {
    *("all", "archive", "backup", "cache", "checkpoints", "crops", "data", "dataset", "datasets"),
    *("doc", "docs", "env", "files", "folder", "holdout", "image", "images", "img", "imgs", "jpeg"),
    *("jpegimages", "jpg", "log", "logs", "model", "models", "new", "old", "output", "outputs"),
    *("photo", "photos", "pics", "pictures", "png", "raw", "results", "runs", "samples"),
    *("scripts", "src", "temp", "thumbnails", "tmp", "trash"),
    *("new folder", "untitled folder", "neuer ordner", "nouveau dossier", "nueva carpeta"),
}
"""What folders are called that hold images, but not those of a class; as `_plain` writes them."""
_NO_VALUE = {"nan", "none", "null", "n/a", "na", "#n/a", "undefined", "unlabeled", "unlabelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Something about classes that is allowed, and may be a mistake."""

    kind: str
    """One of a few words, such as "similar-names", to look for."""
    classes: tuple[str, ...]
    """Those it is about, at least one."""
    message: str
    """A sentence for people."""


def suspicions(
    counts: Mapping[str, int], splits: Mapping[str, Mapping[str, int]], judged_by: str
) -> list[Suspicion]:
    """Lists what is suspicious about classes.

    Args:
      counts: images by class, also of classes without any.
      splits: the same by split; empty where splits are not known.
      judged_by: the split that models are evaluated on.
    """
    there = {name: count for name, count in counts.items() if count}
    return [
        *_missing(counts, splits, judged_by),
        *_similar(counts),
        *_odd_names(counts),
        *_odd_counts(there),
    ]


def _missing(
    counts: Mapping[str, int], splits: Mapping[str, Mapping[str, int]], judged_by: str
) -> Iterator[Suspicion]:
    """Yields classes of which something is not there."""
    # Of a report, a notice has them.
    unusable = sorted(name for name, count in counts.items() if not count and not splits)
    untrained, unjudged = (
        sorted(n for n, c in counts.items() if c and split in splits and n not in splits[split])
        for split in ("train", judged_by)
    )
    for kind, names, what in (
        ("no-usable-image", unusable, "has no image that can be used, so it is no class"),
        ("no-train-image", untrained, "has no image in train: a run stops at that"),
        ("no-judged-image", unjudged, f"has no image in {judged_by}, which models are judged by"),
    ):
        if names:
            verb = what if len(names) == 1 else what.replace("has", "have", 1)
            yield Suspicion(kind=kind, classes=tuple(names), message=f"{_listed(names)} {verb}.")


def _similar(names: Iterable[str]) -> Iterator[Suspicion]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        alike[_folded(name)].append(name)
    for group in alike.values():
        if len({name.casefold() for name in group}) > 1:  # a notice has those that differ in case
            yield Suspicion(
                kind="similar-names",
                classes=tuple(group),
                message=f"{_listed(group)} are {len(group)} classes, by names that differ little.",
            )


def _folded(name: str) -> str:
    """Writes a name without what people write now one way, now another."""
    text = _COPY.sub("", unicodedata.normalize("NFKC", name).casefold().strip())
    if _NUMBER.fullmatch(text):
        return str(int(float(text)))
    text = _ACCENT.sub("", unicodedata.normalize("NFD", text))
    text = _SEPARATOR.sub("", text).strip(" _") or text
    return text if len(text) < 4 or text.endswith("ss") else text.removesuffix("s")


def _odd_names(names: Iterable[str]) -> Iterator[Suspicion]:
    for name in sorted(names):
        if split_named(_plain(name)):
            yield Suspicion(
                kind="split-name",
                classes=(name,),
                message=f"{name!r} is a class here, by the name of a split.",
            )
        elif _plain(name) in _CONTAINERS or is_part(name) or is_system(name.encode()):
            yield Suspicion(
                kind="folder-name",
                classes=(name,),
                message=f"{name!r} is a class here, by a name that is rather a folder's.",
            )
        elif name.strip().casefold() in _NO_VALUE:
            yield Suspicion(
                kind="no-value",
                classes=(name,),
                message=f"{name!r} is a class here; it often stands for a label that is missing.",
            )


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", _COPY.sub("", name.casefold().strip()))).strip()


def _odd_counts(counts: Mapping[str, int]) -> Iterator[Suspicion]:
    if single := sorted(name for name, count in counts.items() if count == 1):
        has = "has one image" if len(single) == 1 else "have one image each"
        yield Suspicion(
            kind="one-image",
            classes=tuple(single),
            message=f"{_listed(single)} {has}: enough to train on or to judge by, not for both.",
        )
    if counts:
        least, most = (f(counts, key=lambda n: (counts[n], n)) for f in (min, max))
        if counts[most] >= IMBALANCE * counts[least]:
            times = counts[most] // counts[least]
            yield Suspicion(
                kind="imbalance",
                classes=(most, least),
                message=f"{most!r} has {counts[most]:,} images, {times:,} times those of "
                f"{least!r} ({counts[least]:,}).",
            )


def _listed(names: list[str], most: int = 5) -> str:
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
