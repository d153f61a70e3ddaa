"""Which split an image belongs to.

Images without a given split get one by the hash of their content, so equal
images never straddle splits and an image stays where it is as data grows.
Two exceptions keep small data usable: a class without a training image gets
one, and no split stays empty.  The images moved for this are reported; they
return to their hash's split once the data has grown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.errors import DataError

_Contents = dict[str, dict[str, set[str]]]
"""Split → content SHA-256 → labels (more than one where labels conflict)."""


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
    images: Iterable[tuple[str, str, str | None]], shares: Mapping[str, float]
) -> SplitPlan:
    """Decides how images are split.

    Splits that the data does not bring are carved from its train images.

    Args:
      images: (content SHA-256, label, given split) of every usable image.
      shares: split → share, of all splits wanted, "train" first.

    Raises:
      DataError: a split would be empty.
    """
    images = list(images)
    brought = {g for _, _, g in images if g is not None}
    plan = plan_by_hash(brought, shares)
    contents: _Contents = {n: defaultdict(set) for n in plan.shares}
    for sha256, label, given_split in images:
        if given_split in (None, "train"):
            contents[plan.split_of(sha256, given_split)][sha256].add(label)
    moved = _train_every_class(contents) | _fill_empty(contents)
    filled = {n for n, c in contents.items() if c} | (brought - {"train"})
    for name in shares:
        if name not in filled:
            raise DataError(_empty_split(name, len(images)))
    return SplitPlan(shares=plan.shares, moved=moved)


def _train_every_class(contents: _Contents) -> dict[str, str]:
    """Moves one image of each class that has none in train there."""
    moved = {}
    trained = {label for labels in contents["train"].values() for label in labels}
    elsewhere: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, by_content in contents.items():
        if name != "train":
            for sha256, labels in by_content.items():
                for label in labels:
                    elsewhere[label].append((sha256, name))
    for label in sorted(elsewhere):
        if label not in trained:
            sha256, name = min(elsewhere[label])
            if sha256 not in moved:
                contents["train"][sha256] = contents[name].pop(sha256)
                moved[sha256] = "train"
    return moved


def _fill_empty(contents: _Contents) -> dict[str, str]:
    """Moves one image into each empty split, never a class's last in train."""
    moved = {}
    counts = Counter(label for labels in contents["train"].values() for label in labels)
    for name in contents:
        if name == "train" or contents[name]:
            continue
        spare = [c for c, ls in contents["train"].items() if all(counts[x] > 1 for x in ls)]
        if spare:
            sha256 = max(spare, key=hash_fraction)
            labels = contents["train"].pop(sha256)
            counts.subtract(labels)
            contents[name][sha256] = labels
            moved[sha256] = name
    return moved


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
