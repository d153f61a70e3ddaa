"""What a look at data finds besides the report: suspicions, thumbnails."""

from __future__ import annotations

import io
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from odd_images import encode, smooth, turned
from PIL import Image

from common.images.pixels import check_image
from components.example_gen.preview.suspicious import suspicions
from components.example_gen.preview.thumbnails import SIDE, Thumbnails

pytestmark = pytest.mark.quick


def found(counts, splits=None):
    """Kind → classes."""
    return {s.kind: s.classes for s in suspicions(counts, splits or {}, "test")}


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cats"),
        ("cat ", "cat"),
        ("golden_retriever", "golden retriever"),
        ("Golden-Retriever", "golden_retriever"),
        ("cats", "cat"),
        ("st. bernard", "St.Bernard"),
        ("cat_", "cat"),
        ("cafe", "café"),
        ("cat", "cat (1)"),
        ("cat", "cat - Copy"),
        ("Copy of cat", "cat"),
        ("1", "01"),
        ("1", "1.0"),
        ("ｃａｔ", "cat"),
    ],
)
def test_names_that_differ_little(names):
    assert found(dict.fromkeys([*names, "dog"], 9)) == {"similar-names": tuple(sorted(names))}


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog"),
        ("1", "10", "100"),
        ("class 1", "class 11"),
        ("as", "a"),
        ("1.5", "15"),
        ("c", "c++"),
        ("+", "-"),
        ("猫", "犬"),
        ("boss", "bos"),
        ("-1", "1"),
        ("1-2", "12"),
        ("ハ", "バ"),
        ("की", "का"),
    ],
)
def test_names_that_are_different(names):
    assert "similar-names" not in found(dict.fromkeys(names, 9))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train", "split-name"),
        ("Validation", "split-name"),
        ("train (1)", "split-name"),
        ("images", "folder-name"),
        ("New folder", "folder-name"),
        ("New folder (2)", "folder-name"),
        ("node_modules", "folder-name"),
        ("__pycache__", "folder-name"),
        ("nan", "no-value"),
        ("N/A", "no-value"),
    ],
)
def test_names_that_are_rather_no_class(name, kind):
    assert found({name: 9, "dog": 9}) == {kind: (name,)}


def test_counts_that_are_odd():
    assert found({"a": 19, "b": 1}) == {"one-image": ("b",)}
    assert found({"a": 40, "b": 2, "c": 3}) == {"imbalance": ("a", "b")}
    assert found({"a": 39, "b": 2}) == {}
    assert found({"a": 9, "b": 0}) == {"no-usable-image": ("b",)}


def test_splits_without_a_class():
    splits = {"train": {"a": 5, "b": 2}, "test": {"a": 1, "c": 2}}
    kinds = found({"a": 6, "b": 2, "c": 2}, splits)
    assert kinds == {"no-train-image": ("c",), "no-judged-image": ("b",)}


def test_a_message_is_one_sentence_however_many_classes():
    (alone,) = suspicions({"a": 9, "b": 1}, {}, "test")
    assert alone.message == "'b' has one image: enough to train on or to judge by, not for both."
    (many,) = suspicions({f"{c}x": 1 for c in "abcdefgh"}, {}, "test")
    assert many.message.startswith("'ax', 'bx', 'cx', 'dx', 'ex' and 3 more have one image each:")


LABELS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)


@EXAMPLES
@given(st.dictionaries(LABELS, st.integers(0, 1000), min_size=2))
def test_any_names_and_counts_are_looked_at(counts):
    for suspicion in suspicions(counts, {}, "test"):
        assert suspicion.classes and {*suspicion.classes} <= {*counts}
        assert suspicion.message.endswith(".") and "\n" not in suspicion.message


PNG = encode("PNG", smooth())


def drawn(thumbnails, offers):
    for label, path, sha256 in offers:
        thumbnails.offer(label, path, sha256, PNG)
    return {label: [t.path for t in kept] for label, kept in thumbnails.by_class().items()}


def offers(labels, count):
    return [(c, b"%d" % n, f"{c}{n}") for c, n in itertools.product(labels, range(count))]


def test_the_same_are_drawn_in_whatever_order_and_threads():
    many = offers("abc", 200)
    first = drawn(Thumbnails(per_class=5), many)
    assert {label: len(kept) for label, kept in first.items()} == dict.fromkeys("abc", 5)
    assert drawn(Thumbnails(per_class=5), many[::-1]) == first
    threaded = Thumbnails(per_class=5)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda offer: threaded.offer(*offer, PNG), many))
    assert drawn(threaded, []) == first
    assert drawn(Thumbnails(per_class=5, seed=1), many) != first


def test_copies_of_an_image_are_drawn_once():
    copies = [("a", path, "same") for path in (b"2", b"1", b"3")]
    assert drawn(Thumbnails(), copies) == {"a": [b"1"]}


def test_all_classes_together_have_their_limit():
    labels = [f"{n:02}" for n in range(30)]
    kept = drawn(Thumbnails(per_class=24, total=60), offers(labels, 10))
    assert {len(paths) for paths in kept.values()} == {2} and len(kept) == 30
    kept = drawn(Thumbnails(per_class=24, total=10), offers(labels, 3))
    assert {len(paths) for paths in kept.values()} == {1} and len(kept) == 30


def test_thumbnails_are_upright_and_small():
    thumbnails = Thumbnails(per_class=1000)
    for odd in turned():
        image = check_image(odd.data, max_pixels=10_000)
        thumbnails.offer("turned", odd.name.encode(), odd.name, image.encoded)
    kept = {t.path.decode(): t for t in thumbnails.by_class()["turned"]}
    for odd in turned():
        with Image.open(io.BytesIO(kept[odd.name].jpeg)) as small:
            pixels = np.asarray(small.convert("RGB")).astype(int)
        assert np.abs(pixels - odd.shown).mean() < 8, odd.name


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (500, 400)])
def test_thumbnails_of_any_shape(size):
    thumbnails = Thumbnails()
    thumbnails.offer("a", b"x", "x", encode("PNG", Image.new("P", size)))
    (thumbnail,) = thumbnails.by_class()["a"]
    assert (thumbnail.width, thumbnail.height) == size
    with Image.open(io.BytesIO(thumbnail.jpeg)) as small:
        assert max(small.size) == SIDE and min(small.size) >= 1
