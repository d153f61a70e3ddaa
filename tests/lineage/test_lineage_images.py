"""The index of images: what is written is found again, and two are compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.image_index import IndexedImage, from_line, to_line, to_lines
from lineage.images.index import LISTED, ImageGroup, NoIndexError, compare, find

pytestmark = pytest.mark.quick

SHAS = [f"{n:x}".rjust(64, "a") for n in range(12)]
"""Few, so that two datasets share many, and some have copies."""

images = st.builds(
    IndexedImage,
    st.sampled_from(SHAS),
    st.sampled_from(["train", "val", "test"]),
    st.sampled_from(["cat", "žába", "a b"]),
    st.binary(max_size=4),
)
datasets = st.lists(images, max_size=25)
unique = st.lists(images, max_size=12, unique_by=lambda i: i.sha256)


def written(folder: Path, name: str, dataset: list[IndexedImage]) -> Path:
    path = folder / name
    path.write_bytes(to_lines(dataset))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes")


@given(image=images)
@EXAMPLES
def test_a_line_is_one_line_and_comes_back(image: IndexedImage) -> None:
    line = to_line(image)
    assert from_line(line) == image
    assert line.count(b"\t") == 3 and b"\n" not in line and b"\r" not in line
    line.decode("utf-8")


def test_paths_that_look_like_escapes_stay_apart() -> None:
    paths = [b"\xff", rb"\xff", b"\t", rb"\t", b"\\", rb"\\", b"a\nb", "é".encode()]
    lines = [to_line(IndexedImage(SHAS[0], "train", "cat", p)) for p in paths]
    assert len(set(lines)) == len(paths)
    assert [from_line(line).path for line in lines] == paths


@given(dataset=datasets)
@EXAMPLES
def test_every_copy_of_an_image_is_found(folder: Path, dataset: list[IndexedImage]) -> None:
    index = written(folder, "found", dataset)
    for sha256 in (*SHAS, "0" * 64, "f" * 64):
        expected = [i for i in dataset if i.sha256 == sha256]
        assert sorted(find(index, [sha256]).get(sha256, [])) == sorted(expected)


def total(group: ImageGroup) -> int:
    assert group.count == sum(group.by.values())
    assert len(group.first) == min(group.count, LISTED)
    return group.count


@given(a=unique, b=unique)
@EXAMPLES
def test_changes_are_those_of_a_plain_comparison(
    folder: Path, a: list[IndexedImage], b: list[IndexedImage]
) -> None:
    changes = compare(written(folder, "a", a), written(folder, "b", b), listed=1000)
    one, other = ({i.sha256: i for i in dataset} for dataset in (a, b))
    both = [(one[s], other[s]) for s in sorted(one.keys() & other.keys())]
    assert [c.sha256 for c in changes.added.first] == sorted(other.keys() - one.keys())
    assert [c.sha256 for c in changes.removed.first] == sorted(one.keys() - other.keys())
    assert changes.relabelled.by == Counter(
        f"{x.label} → {y.label}" for x, y in both if x.label != y.label
    )
    assert changes.moved.by == Counter(
        f"{x.split} → {y.split}" for x, y in both if x.split != y.split
    )
    assert [(c.path_before, c.path) for c in changes.renamed.first] == [
        (x.shown_path, y.shown_path)
        for x, y in both
        if x.path != y.path and (x.label, x.split) == (y.label, y.split)
    ]


@given(a=datasets, b=datasets)
@EXAMPLES
def test_copies_are_matched_one_to_one(
    folder: Path, a: list[IndexedImage], b: list[IndexedImage]
) -> None:
    index_a, index_b = written(folder, "a", a), written(folder, "b", b)
    changes = compare(index_a, index_b)
    one, other = (Counter(i.sha256 for i in dataset) for dataset in (a, b))
    assert total(changes.added) == (other - one).total()
    assert total(changes.removed) == (one - other).total()
    # No more is said to have changed than did, and nothing where nothing did.
    labels = [Counter((i.sha256, i.label) for i in dataset) for dataset in (a, b)]
    assert total(changes.relabelled) >= (labels[1] - labels[0]).total() - total(changes.added)
    assert (changes.total == 0) == (sorted(a) == sorted(b))
    back = compare(index_b, index_a)
    assert (back.added.by, back.removed.by) == (changes.removed.by, changes.added.by)


def test_what_is_named_is_the_first_of_each_kind(folder: Path) -> None:
    many = [
        IndexedImage(f"{n:064x}", "train", "cat" if n % 3 else "dog", b"%d.png" % n)
        for n in range(100)
    ]
    changes = compare(written(folder, "a", []), written(folder, "b", many))
    assert changes.added.by == {"cat": 66, "dog": 34}
    assert [c.path for c in changes.added.first] == [f"{n}.png" for n in range(LISTED)]
    assert changes.total == 100


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not an index\n", "cannot be used"),
        (f"{SHAS[1]}\ttrain\tcat\n".encode(), "cannot be used"),
        (f"{'b' * 64}\ttrain\tcat\tx\n{'a' * 64}\ttrain\tcat\tx\n".encode(), "not sorted"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    index = tmp_path / "images.tsv"
    index.write_bytes(content)
    with pytest.raises(NoIndexError, match=reason):
        compare(index, written(tmp_path, "other", []))
    with pytest.raises(NoIndexError, match="No such file"):
        find(tmp_path / "missing.tsv", [SHAS[0]])
