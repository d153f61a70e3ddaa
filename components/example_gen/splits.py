"""Which split an image belongs to.

Images without a given split get one by the hash of their content, so equal
images never straddle splits and an image stays where it is as data grows.
Two exceptions keep small data usable: a class without a training image gets
one, and no split stays empty.  The images moved for this are reported; they
return to their hash's split once the data has grown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from common.errors import DataError

Parts = Callable[[], Iterable[Collection[tuple[str, str, str | None]]]]
"""Begins anew to go through images: content SHA-256, label, given split.  A content is whole in
one of the parts, and of one part at a time the contents are held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """How splits are assigned; `split_of` needs nothing else about the data."""

    shares: Mapping[str, float]
    """Splits drawn by hash, in order, and their relative shares."""
    moved: Mapping[str, str]
    """Content SHA-256 → split, for the images that the hash does not place."""

    def split_of(self, sha256: str, given: str | None) -> str:
        """Returns the split of an image; `given` is the one that it comes with."""
        if given is not None and (given != "train" or len(self.shares) == 1):
            return given
        return self.moved.get(sha256) or by_hash(sha256, self.shares)


def by_hash(sha256: str, shares: Mapping[str, float]) -> str:
    """Returns the split whose part of the unit interval the hash falls into."""
    position = hash_fraction(sha256) * sum(shares.values())
    for name, share in shares.items():
        position -= share
        if position < 0:
            return name
    return name


def hash_fraction(sha256: str) -> float:
    """Returns the content's place in [0, 1), evenly spread."""
    return int(sha256[:13], 16) / 16**13


def plan_by_hash(brought: Iterable[str | None], shares: Mapping[str, float]) -> SplitPlan:
    """Makes the plan as far as it needs no look at the images.

    Args:
      brought: the splits that the data comes with.
      shares: split → share, of all splits wanted.
    """
    others = {*brought} - {"train"}
    return SplitPlan(shares={n: s for n, s in shares.items() if n not in others}, moved={})


def plan_splits(
    parts: Parts, brought: Iterable[str | None], shares: Mapping[str, float]
) -> SplitPlan:
    """Decides how images are split.

    Splits that the data does not bring are carved from its train images.

    Args:
      parts: the usable images.
      brought: the splits that they come with.
      shares: split → share, of all splits wanted, "train" first.

    Raises:
      DataError: a split would be empty.
    """
    drawn = plan_by_hash(brought, shares).shares
    moved: dict[str, str] = {}
    plan = SplitPlan(shares=drawn, moved=moved)
    # Of contents: how many each split has, and how many with each label train has.
    filled, trained = Counter(dict.fromkeys(drawn, 0)), Counter[str]()
    elsewhere: dict[str, tuple[str, str, set[str]]] = {}
    for sha256, labels in _drawn(parts):
        split = plan.split_of(sha256, None)
        filled[split] += 1
        if split == "train":
            trained.update(labels)
            continue
        for label in labels:
            if label not in elsewhere or sha256 < elsewhere[label][0]:
                elsewhere[label] = sha256, split, labels
    for label in sorted(elsewhere.keys() - trained.keys()):
        sha256, split, labels = elsewhere[label]
        if sha256 not in moved:
            moved[sha256] = "train"
            filled.update({split: -1, "train": 1})
            trained.update(labels)
    for split in drawn:
        if split == "train" or filled[split]:
            continue
        if spare := _spare(parts, plan, trained):
            moved[spare[0]] = split
            filled.update({split: 1, "train": -1})
            trained.subtract(spare[1])
    for name in drawn:
        if not filled[name]:
            raise DataError(_empty_split(name, sum(len(part) for part in parts())))
    return plan


def _drawn(parts: Parts) -> Iterator[tuple[str, set[str]]]:
    """Yields the contents that get a split by their hash, and their labels, which may conflict."""
    for part in parts():
        contents: dict[str, set[str]] = defaultdict(set)
        for sha256, label, given in part:
            if given in (None, "train"):
                contents[sha256].add(label)
        yield from contents.items()


def _spare(
    parts: Parts, plan: SplitPlan, trained: Mapping[str, int]
) -> tuple[str, set[str]] | None:
    """Returns a content of train that leaves each of its classes another there."""
    spare = (
        (sha256, labels)
        for sha256, labels in _drawn(parts)
        if plan.split_of(sha256, None) == "train" and all(trained[label] > 1 for label in labels)
    )
    return max(spare, key=lambda content: hash_fraction(content[0]), default=None)


def _empty_split(name: str, images: int) -> str:
    return (
        f"The split {name!r} has no images ({images} usable images in all). Add images, give the "
        f"data folders train/, val/ and test/ of its own, or change data.splits."
    )


def no_share(split: str | None) -> str:
    """Says that data comes with a split that the config does not know."""
    return (
        f"There are {split} images, but data.splits has no share for {split!r}; add it (its share "
        "is not used) or move the images."
    )
