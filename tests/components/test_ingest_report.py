"""What is told of a data set once its images are read: notices, duplicates, what fails a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from common.errors import DataError
from components.example_gen import notebook
from components.example_gen.config import DataConfig
from components.example_gen.image_index import to_lines
from components.example_gen.records import OUTSIDE, Note, Notes, Quarantined, Source
from components.example_gen.report import Outcome, conclude

pytestmark = pytest.mark.quick


def image(path: str, content: str = "", split: str | None = None) -> Note:
    """An image that was read; its class is its folder's name."""
    return Note(
        path=path.encode(),
        label=path.split("/")[-2],
        given_split=split,
        sha256=hashlib.sha256((content or path).encode()).hexdigest(),
        format="jpeg",
        normalised=None,
        width=4,
        height=3,
        size=100,
        digest=bytes(32),
    )


def unusable(path: str, reason: str = "truncated") -> Quarantined:
    label = "" if reason == OUTSIDE else path.split("/", maxsplit=1)[0]
    return Quarantined(path=path.encode(), label=label, reason=reason)


def concluded(
    images: Sequence[Note],
    quarantined: Sequence[Quarantined] = (),
    notices: tuple[str, ...] = (),
) -> Outcome:
    source = Source(kind="folder", base=b"", records=(), notices=notices)
    notes = Notes(images=list(images), quarantined=list(quarantined))
    return conclude(source, DataConfig(path="x"), [notes])


MANY = [image(f"{label}/{n}.jpg") for label in "ab" for n in range(100)]


def test_a_class_of_which_nothing_is_usable_is_told() -> None:
    outcome = concluded(MANY, [unusable("c/1.jpg"), unusable("c/2.jpg", "empty")])
    assert outcome.report["notices"] == [
        "The class 'c' is left out, none of its images is usable (2; c/1.jpg: truncated)."
    ]
    assert not concluded(MANY, [unusable("a/broken.jpg")]).report["notices"]


def test_what_the_listing_told_is_told_once() -> None:
    notices = ("Something.", "The classes 'Cat' and 'cat' differ in case alone, and count as two.")
    outcome = concluded([*MANY, image("Cat/1.jpg"), image("cat/2.jpg")], notices=notices)
    assert outcome.report["notices"] == list(notices)


def test_an_image_under_two_labels_is_told_with_the_first_pair() -> None:
    copies = [image("a/copy.jpg", "b/7.jpg"), image("a/copy 2.jpg", "b/7.jpg")]
    outcome = concluded([*MANY, *copies, image("b/x.jpg", "a/9.jpg")])
    found = outcome.report["duplicates"]["across_labels"]
    assert (found["count"], found["images"], found["classes"]) == (2, 5, [])
    assert outcome.report["notices"] == [
        "2 images are there under more than one label: a/9.jpg (a) and b/x.jpg (b)."
    ]


def test_an_image_in_two_splits_is_told() -> None:
    given = [image(f"{s}/{c}/1.jpg", split=s) for s in ("train", "val", "test") for c in "ab"]
    leak = image("test/a/2.jpg", "train/a/1.jpg", split="test")
    assert concluded([*given, leak]).report["notices"] == [
        "1 image is there under more than one split: test/a/2.jpg (test) and train/a/1.jpg (train)."
    ]


def test_a_class_whose_every_image_is_in_others_is_told() -> None:
    everything = [image(f"all/{n}.jpg", f"a/{n}.jpg") for n in range(3)]
    outcome = concluded([*MANY, *everything])
    assert outcome.report["duplicates"]["across_labels"]["classes"] == ["all"]
    assert outcome.report["notices"][-1] == (
        "Every image of class 'all' is there under another label too."
    )


def test_what_is_too_much_for_memory_is_concluded_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = [image(f"b/copy of {n}.jpg", f"a/{n}.jpg") for n in range(40)]
    images = [*MANY, *copies, image("c/only.jpg"), image("c/copy.jpg", "a/3.jpg")]
    notes = [Notes(images=images[n : n + 7]) for n in range(0, len(images), 7)]
    source = Source(kind="folder", base=b"", records=())
    held = conclude(source, DataConfig(path="x"), [Notes(images=images)])
    monkeypatch.setattr(notebook, "_HELD", 20)
    written = conclude(source, DataConfig(path="x"), notes[::-1], tmp_path)
    assert len(list(tmp_path.glob(".notes-*/*"))) > 50
    assert (written.report, written.plan) == (held.report, held.plan)
    assert to_lines(chain.from_iterable(held.images())) == b"".join(map(to_lines, written.images()))
    first = written.report["duplicates"]["across_labels"]["first"]
    assert [f["paths"][0] for f in first] == sorted(f["paths"][0] for f in first)


def test_a_few_images_outside_the_class_folders_fail_no_run() -> None:
    small = [image(f"{label}/{n}.jpg") for label in "ab" for n in range(8)]
    outcome = concluded(small, [unusable(f"{n}.png", OUTSIDE) for n in range(10)])
    assert outcome.report["quarantined"] == {"count": 10, "reasons": {OUTSIDE: 10}}
    with pytest.raises(DataError, match=r"11 of 27 (?s:.*) data\.ignore") as e:
        concluded(small, [unusable(f"{n}.png", OUTSIDE) for n in range(11)])
    assert "0.png: outside-class-folders" in str(e.value)
    with pytest.raises(DataError, match="1 of 17 images are unusable"):
        concluded(small, [unusable("0.png", OUTSIDE), unusable("a/x.jpg")])
