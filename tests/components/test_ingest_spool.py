"""The files that ingestion writes before it knows where the last image belongs."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
from pathlib import Path

import pytest
from PIL import Image

from components.example_gen.digest import size_of
from components.example_gen.gather import example_of
from components.example_gen.ingest import Ingest
from components.example_gen.reading import Reader
from components.example_gen.records import Note, Notes, Record
from components.example_gen.splits import SplitPlan, plan_by_hash
from components.example_gen.spool import Bundle, Spool, remove_spools, settle

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def note(n: int, given: str | None = None) -> Note:
    return Note(
        path=b"%03d" % n,
        label="ab"[n % 2],
        given_split=given,
        sha256=hashlib.sha256(b"%d" % n).hexdigest(),
        format="png",
        normalised=None,
        width=1,
        height=1,
        size=1,
        digest=bytes(32),
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(path=tmp_path / ".spool-1", plan=plan_by_hash([], SHARES))
    spool.path.mkdir()
    return spool


def write(spool: Spool, numbers: range) -> str:
    """A bundle of two batches."""
    bundle = Bundle(spool)
    for batch in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
        notes = Notes(images=[note(n) for n in batch])
        for image in notes.images:
            bundle.add(image, image.path)
        bundle.note(notes)
    bundle.close()
    return bundle.name


def settled(spool: Spool, bundles: list[str], plan: SplitPlan) -> dict[str, list[list[bytes]]]:
    """Split → the examples of each of its files."""
    folders = {s: spool.path.parent / f"Split-{s}" for s in SHARES}
    settle(spool, bundles, plan, folders)
    return {s: [examples(f) for f in sorted(d.iterdir())] for s, d in folders.items()}


def examples(file: Path) -> list[bytes]:
    """The records of a file, read without TensorFlow: length, checksum, data, checksum."""
    content, found = gzip.decompress(file.read_bytes()), []
    while content:
        (length,) = struct.unpack_from("<Q", content)
        found.append(content[12 : 12 + length])
        content = content[16 + length :]
    return found


def expected(numbers: range, plan: SplitPlan) -> dict[str, list[bytes]]:
    images = [note(n) for n in numbers]
    return {
        s: [i.path for i in images if plan.split_of(i.sha256, i.given_split) == s] for s in SHARES
    }


def test_files_go_where_the_hashes_say_and_keep_the_order(spool):
    bundles = [write(spool, range(100, 200)), write(spool, range(100))]
    found = settled(spool, bundles, spool.plan)
    first, second = expected(range(100), spool.plan), expected(range(100, 200), spool.plan)
    assert found == {s: [first[s], second[s]] for s in SHARES}
    names = sorted(p.name for p in (spool.path.parent / "Split-val").iterdir())
    assert names == ["data_tfrecord-00000-of-00002.gz", "data_tfrecord-00001-of-00002.gz"]


def test_images_that_move_take_their_place_among_the_others(spool):
    bundles = [write(spool, range(100)), write(spool, range(100, 200))]
    by_hash = expected(range(100), spool.plan)
    moved = {hashlib.sha256(str(int(by_hash["val"][1])).encode()).hexdigest(): "train"}
    moved |= {hashlib.sha256(str(int(by_hash["train"][5])).encode()).hexdigest(): "test"}
    plan = SplitPlan(shares=SHARES, moved=moved)
    found = settled(spool, bundles, plan)
    first, second = expected(range(100), plan), expected(range(100, 200), plan)
    assert first != by_hash
    assert found == {s: [first[s], second[s]] for s in SHARES}


def test_a_split_whose_images_all_move_leaves_no_file(spool):
    numbers = range(40)
    bundle = write(spool, numbers)
    moved = {note(n).sha256: "train" for n in numbers}
    found = settled(spool, [bundle], SplitPlan(shares=SHARES, moved=moved))
    assert found == {"train": [[b"%03d" % n for n in numbers]], "val": [], "test": []}


def test_another_plan_than_the_listing_promised(spool):
    """All images of the data's own val were unusable, so val is carved from train."""
    plan = plan_by_hash(["train"], {"train": 0.5, "val": 0.5})
    bundle = write(spool, range(60))
    found = settled(spool, [bundle], plan)
    assert found == {s: [e] if e else [] for s, e in expected(range(60), plan).items()}


def test_what_an_earlier_attempt_left_is_gone(spool):
    write(spool, range(100))  # a bundle that nobody names
    old = spool.path.parent / "Split-val" / "data_tfrecord-00000-of-00009.gz"
    old.parent.mkdir()
    old.write_bytes(b"old")
    bundle = write(spool, range(100))
    found = settled(spool, [bundle], spool.plan)
    assert found == {s: [e] for s, e in expected(range(100), spool.plan).items()}
    remove_spools(spool.path.parent)
    assert sorted(p.name for p in spool.path.parent.iterdir()) == [
        f"Split-{s}" for s in sorted(SHARES)
    ]


def test_a_bundle_that_is_tried_again(spool, tmp_path):
    """Its first attempt died after it had written images."""
    records = []
    for n in range(10):
        Image.new("L", (4, 4), n).save(tmp_path / f"{n}.png")
        records.append(Record(path=b"%d.png" % n, label="ab"[n % 2]))

    def attempt(ends: bool) -> list[str]:
        ingesting = Ingest(os.fsencode(tmp_path), 100, spool)
        ingesting.setup()
        ingesting.start_bundle()
        ingesting.process(pickle.dumps(records[:5]))
        if not ends:
            return []
        ingesting.process(pickle.dumps(records[5:]))
        done = [windowed.value for windowed in ingesting.finish_bundle()]
        ingesting.teardown()
        return done

    bundles = attempt(ends=False) + attempt(ends=True)
    found = settled(spool, bundles, spool.plan)
    assert sum(len(e) for files in found.values() for e in files) == 10
    assert [n.path for b in bundles for some in spool.notes(b) for n in some.images] == [
        r.path for r in records
    ]


def test_images_are_read_a_few_at_a_time(tmp_path):
    """However large the images of a batch are."""
    (tmp_path / "small").write_bytes(bytes(10))
    (tmp_path / "large").write_bytes(bytes(700_000))
    reader = Reader(os.fsencode(tmp_path), example_of)
    names = [b"small", b"large", b"large", b"gone", *[b"small"] * 500]
    sizes = (size_of(os.path.join(os.fsencode(tmp_path), n)) for n in names)
    slices = list(reader._slices(zip(names, sizes, strict=True)))
    reader.close()
    assert slices[:2] == [[b"small", b"large"], [b"large", b"gone", *slices[1][2:]]]
    assert [n for s in slices for n in s] == names
    assert max(map(len, slices)) <= 101
