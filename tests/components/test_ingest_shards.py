"""Shards as people have them: what they are taken for, what is read, and what is refused."""

from __future__ import annotations

import os
import random
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shards
from shards import as_folder, pictures, png, write_parquet, write_tar, write_zip

from common.errors import ConfigError, DataError
from common.images.errors import BadImage
from components.example_gen.config import Columns, DataConfig, from_json, to_json
from components.example_gen.digest import fingerprint
from components.example_gen.records import Record
from components.example_gen.shards.formats import reader
from components.example_gen.source import list_source

pytestmark = pytest.mark.quick

PICTURES = pictures(3)
A, B = png(1), png(2)


def listed(path, **config):
    config = DataConfig(path=str(path), **config)
    return list_source(config, config.path)


def images(path, **config):
    """What the shards at a path hold, read as ingestion does: (Record, bytes or BadImage)."""
    config = DataConfig(path=str(path), **config)
    source = list_source(config, config.path)
    found = []
    for shard in source.shards:
        file = os.fsdecode(source.file(shard))
        found += reader(source.kind).read(file, shard, config.columns)
    return found


def labelled(path, **config):
    return [(r.label, data) for r, data in images(path, **config)]


def refusal(path, **config):
    with pytest.raises(DataError) as e:
        images(path, **config)
    message = str(e.value)
    assert "\n" not in message and message.endswith((".", "?"))
    return message


def in_all_formats(folder):
    return {
        "zip": write_zip(folder / "toy.zip", PICTURES.items()),
        "tar": write_tar(folder / "toy.tar", PICTURES.items()),
        "tar.gz": write_tar(folder / "toy.tar.gz", PICTURES.items(), "w:gz"),
        "parquet": shards.as_parquet(folder / "toy.parquet", PICTURES),
        "arrow": shards.as_arrow(folder / "toy.arrow", PICTURES),
        "feather": shards.as_arrow(folder / "toy.feather", PICTURES, stream=False),
        "webdataset": shards.as_webdataset(folder / "web" / "toy-000000.tar", PICTURES),
    }


def test_every_format_holds_the_same_images(tmp_path):
    wanted = sorted((shards.label_of(path), data) for path, data in PICTURES.items())
    for name, path in in_all_formats(tmp_path).items():
        assert sorted(labelled(path)) == wanted, name
        archives = dict.fromkeys(("zip", "tar", "tar.gz"), "archive")
        assert listed(path).kind == ({"feather": "arrow"} | archives).get(name, name)


def test_a_changed_byte_changes_the_fingerprint_and_a_time_does_not(tmp_path):
    for name, path in in_all_formats(tmp_path).items():
        first = fingerprint(listed(path))
        os.utime(path, (1, 1))
        assert fingerprint(listed(path)) == first
        if name != "tar.gz":
            path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDAT", 1) + b"\0" * 512)
            changed = name in ("tar", "webdataset")
            if changed:
                assert fingerprint(listed(path)) != first


def test_paths_of_images_say_the_shard_and_the_place(tmp_path):
    files = in_all_formats(tmp_path)
    assert images(files["parquet"])[4][0].path == b"toy.parquet#4"
    assert images(files["webdataset"])[4][0].path == b"toy-000000.tar#000004.png"
    assert [r.path for r, _ in images(files["zip"])] == [p.encode() for p in PICTURES]


# Files, splits and class names.


@pytest.mark.parametrize(
    "names",
    [
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test.pq"],
        ["train/0000.parquet", "validation/0000.parquet"],
        ["default/train/0000.parquet", "default/test/0000.parquet"],
        ["cats-train.parquet", "cats-val.parquet"],
        ["Train.parquet", "dir/README.parquet.txt", "sub/test-1.parquet"][:1],
    ],
)
def test_splits_are_those_of_the_names(tmp_path, names):
    for name in names:
        shards.as_parquet(tmp_path / name, PICTURES)
    (tmp_path / "README.md").write_text("A data set.")
    (tmp_path / "logo.png").write_bytes(A)
    splits = {"train": "train", "tes": "test", "val": "val"}
    for shard in listed(tmp_path).shards:
        name = os.fsdecode(shard.path).lower()
        assert shard.split == next(s for word, s in splits.items() if word in name)


def test_one_file_has_no_split(tmp_path):
    (shard,) = listed(shards.as_parquet(tmp_path / "test-00000.parquet", PICTURES)).shards
    assert shard.split is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/train.parquet", "b/train.parquet"], "there are several data sets: 'a' and 'b'"),
        (["train.parquet", "more.parquet"], "more.parquet says no split"),
        (["train-test.parquet", "x.parquet"], "train-test.parquet could be of the split"),
        (["test.parquet", "val.parquet"], "expected files of the split train beside test, val"),
        (["train/test-0.parquet", "train/x.parquet"], "the folder of train/test-0.parquet says"),
        (["x.parquet", "y.tar"], r"write data.format = .parquet. or data.format = .webdataset."),
        (["x.parquet", "cat/1.png"], r"images in cat/. To read .*or data.format = .folder."),
        (["x.tar", "list.csv"], "found the manifest list.csv beside x.tar"),
    ],
)
def test_files_that_are_ambiguous(tmp_path, names, message):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith(".parquet"):
            shards.as_parquet(tmp_path / name, PICTURES)
        elif name.endswith(".tar"):
            write_tar(tmp_path / name, PICTURES.items())
        else:
            (tmp_path / name).write_bytes(A)
    with pytest.raises(DataError, match=message):
        listed(tmp_path)


def test_a_format_is_chosen_where_two_are_there(tmp_path):
    as_folder(tmp_path, PICTURES)
    shards.as_parquet(tmp_path / "x.parquet", PICTURES)
    assert listed(tmp_path, format="parquet").kind == "parquet"
    assert len(listed(tmp_path, format="folder").records) == len(PICTURES)


def test_a_folder_that_is_linked_into_itself_is_read_once(tmp_path):
    shards.as_parquet(tmp_path / "data/train.parquet", PICTURES)
    os.symlink(tmp_path, tmp_path / "data/again")
    assert len(images(tmp_path)) == len(PICTURES)


def test_what_was_unpacked_lies_beside_its_archive(tmp_path):
    as_folder(tmp_path, PICTURES)
    write_zip(tmp_path / "toy.zip", PICTURES.items())
    assert listed(tmp_path).kind == "folder"
    write_zip(tmp_path / "flat/toy.zip", PICTURES.items())
    for n in range(2):
        (tmp_path / f"flat/{n}.png").write_bytes(A)
    (tmp_path / "flat/list.csv").write_text("path,label\n0.png,x\n1.png,y\n")
    assert listed(tmp_path / "flat").kind == "manifest"


def test_a_file_that_is_missing_is_said(tmp_path):
    shards.as_parquet(tmp_path / "train-00001-of-00003.parquet", PICTURES)
    (notice,) = listed(tmp_path).notices
    assert "1 of the 3 files train-*-of-00003 are there" in notice


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>Sign in", "got a web page; fetch the file itself"),
        (b"PAR1 and no more", "the Parquet file is cut off or damaged"),
    ],
)
def test_files_that_are_no_shards(tmp_path, content, message):
    (tmp_path / "train.parquet").write_bytes(content)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize("name", ["x.rar", "x.7z", "x.tar.zst"])
def test_other_archives(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert "unpack it" in refusal(tmp_path / name)


def numbered(tmp_path, labels=(0, 1, 0)):
    return write_parquet(tmp_path / "x.parquet", {"image": [A, B, A], "label": labels})


def test_class_names_of_the_config(tmp_path):
    path = numbered(tmp_path)
    assert labelled(path) == [("0", A), ("1", B), ("0", A)]
    assert labelled(path, class_names=("cat", "dog"))[:2] == [("cat", A), ("dog", B)]
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    assert labelled(path, class_names=str(names))[:2] == [("cat", A), ("dog", B)]
    first = fingerprint(listed(path, class_names=str(names)))
    names.write_text("cat\nfox\n")
    assert fingerprint(listed(path, class_names=str(names))) != first


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("a", " ")])
def test_class_names_that_are_none(names):
    with pytest.raises(ConfigError, match="class_names: expected at least two different names"):
        DataConfig(path="x", class_names=names)


def test_class_names_and_columns_come_back():
    config = DataConfig(path="x", class_names=("a", "b"), columns=Columns(label="breed"))
    assert from_json(to_json(config)) == config


# Parquet.


@pytest.mark.parametrize(
    ("columns", "names", "expected"),
    [
        ({"img": [A, B], "fine": [1, 0]}, {"img": None, "fine": ["x", "y"]}, ["y", "x"]),
        ({"image": [A, B], "label": ["x", "y"]}, {}, ["x", "y"]),
        ({"image": [A, B], "label": pa.array(["x", "y"]).dictionary_encode()}, {}, ["x", "y"]),
        ({"image": pa.array([A, B], pa.large_binary()), "class": ["x", "y"]}, {}, ["x", "y"]),
        ({"image": [A, B], "label": [1.0, 0.0]}, {}, ["1", "0"]),
        ({"image": [A, B], "md5": [b"1", b"2"], "label": ["x", "y"]}, {}, ["x", "y"]),
        ({"image": [A, B], "label": [0, 1], "label_text": "xy"}, {"label": ["x", "y"]}, ["x", "y"]),
        ({"image": [{"bytes": A}, {"bytes": B}], "label": ["x", "y"]}, {}, ["x", "y"]),
        ({"image": [A, B], "Label": [" x", "y "]}, {}, ["x", "y"]),
        ({"image": [A, B], "labels": [["x"], ["y"]]}, {}, ["x", "y"]),
    ],
)
def test_parquet_columns(tmp_path, columns, names, expected):
    columns = {n: list(v) if isinstance(v, str) else v for n, v in columns.items()}
    path = write_parquet(tmp_path / "x.parquet", columns, names)
    assert labelled(path) == list(zip(expected, [A, B], strict=True))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": [A], "mask": [B], "label": [0]},
            'image or mask; choose: data.columns.image = "',
        ),
        ({"image": [A], "label": [0], "label_text": ["x"]}, "label (numbers without names) or"),
        ({"image": [A], "fine_label": [0], "coarse_label": [0]}, "fine_label (numbers without"),
        ({"image": [A], "breed": ["x"]}, 'found breed; name it: data.columns.label = "breed"'),
        ({"image": [A], "label": [["x", "y"]]}, "row 0: expected one class, got ['x', 'y']"),
        ({"text": ["x"], "label": [0]}, "expected encoded images (JPEG, PNG and the like)"),
        ({"url": ["https://a.b/c.jpg"], "label": [0]}, "got an address (https://a.b/c.jpg)"),
        (
            {"image": [{"bytes": None, "path": "https://a"}], "label": [0]},
            "row 0: expected encoded",
        ),
        ({"image": [{"bytes": None, "path": "a.jpg"}], "label": [0]}, "only its path (a.jpg)"),
        ({"image": [A, B], "label": ["x", None]}, "row 1: there is no label"),
        ({"image": [A, B], "label": ["x", " "]}, "row 1: there is no label"),
        ({"image": [A], "label": [-1]}, "row 0: the label -1 means that there is none"),
        ({"image": [A], "label": [0.5]}, "row 0: expected a class, got the number 0.5"),
        ({"image": [A], "label": ["x"], "split": ["holdout"]}, "row 0: unknown split 'holdout'"),
    ],
)
def test_parquet_that_is_refused(tmp_path, columns, message):
    said = refusal(write_parquet(tmp_path / "x.parquet", columns))
    assert message in said and "x.parquet" in said


def test_a_number_without_a_name(tmp_path):
    path = write_parquet(
        tmp_path / "x.parquet", {"image": [A, B], "label": [0, 2]}, {"label": ["a", "b"]}
    )
    assert "row 1: the label 2 has no name: there are 2 class names (0 to 1)" in refusal(path)


def test_columns_of_the_config(tmp_path):
    columns = {"image": [A], "mask": [B], "label": [0], "breed": ["x"]}
    path = write_parquet(tmp_path / "x.parquet", columns)
    assert labelled(path, columns=Columns(image="mask", label="breed")) == [("x", B)]
    said = refusal(path, columns=Columns(image="msk"))
    assert "data.columns.image is 'msk'" in said and "'mask'" in said


def test_a_null_image_is_quarantined_and_others_of_its_row_are_extra(tmp_path):
    columns = {"image": [A, None], "label": ["x", "y"], "camera": ["left", None], "n": [1, 2]}
    path = write_parquet(tmp_path / "x.parquet", {**columns, "boxes": [[1], [2]], "path": "ab"[:2]})
    (first, _), (second, missing) = images(path)
    assert first.extra == (("camera", "left"), ("n", "1"), ("path", "a"))
    assert isinstance(missing, BadImage) and missing.reason == "missing"
    assert second.path == b"x.parquet#1"


def test_a_column_of_splits(tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(path, {"image": [A, B], "label": ["x", "y"], "split": ["Training"[:5], "valid"]})
    assert [r.split for r, _ in images(path)] == ["train", "val"]
    write_parquet(tmp_path / "d/train.parquet", {"image": [A], "label": ["x"], "split": ["test"]})
    assert "the file's name says train, its column split says test" in refusal(tmp_path / "d")


def test_a_parquet_file_that_is_cut_off_or_damaged(tmp_path):
    path = shards.as_parquet(tmp_path / "x.parquet", pictures(200))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cut off or damaged" in refusal(path)
    path.write_bytes(whole[:200] + bytes(500) + whole[700:])
    assert "after row 0" in refusal(path)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 1])
def test_an_arrow_file_that_is_cut_off(tmp_path, stream, kept):
    path = shards.as_arrow(tmp_path / "x.arrow", pictures(9), stream=stream)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) - 8])
    assert "the Arrow file is cut off or damaged" in refusal(path)


def test_a_saved_data_set(tmp_path):
    """As `save_to_disk` lays it out."""
    for split in ("train", "test"):
        shards.as_arrow(tmp_path / split / "data-00000-of-00001.arrow", PICTURES)
        (tmp_path / split / "state.json").write_text("{}")
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert {r.split for r, _ in images(tmp_path)} == {"train", "test"}
    assert len(images(tmp_path)) == 2 * len(PICTURES)


# WebDataset.


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("1.jpg", A), ("1.cls", b"3\n"), ("2.jpg", B), ("2.cls", b"4")], ["3", "4"]),
        ([("1.cls", b"x"), ("1.png", A), ("2.cls", b"y"), ("2.png", B)], ["x", "y"]),
        ([("1.jpg", A), ("1.json", b'{"label": "x"}'), ("2.jpg", B), ("2.json", b'"y"')], "xy"),
        ([("a/1.jpg", A), ("a/1.cls", b"x"), ("a/2.jpg", B), ("a/2.cls", b"y")], ["x", "y"]),
        ([("1.input.jpg", A), ("1.cls", b"x"), ("2.input.jpg", B), ("2.cls", b"y")], ["x", "y"]),
        (
            [("./1.JPG", A), ("./1.cls", b"x"), ("._1.jpg", b""), ("2.jpg", B), ("2.cls", b"y")],
            "xy",
        ),
        ([("README.md", b"-"), ("1.jpg", A), ("1.cls", b"x"), ("2.jpg", B), ("2.cls", b"y")], "xy"),
    ],
)
def test_webdataset_labels(tmp_path, members, expected):
    path = write_tar(tmp_path / "x-000000.tar", members)
    assert listed(path).kind == "webdataset"
    assert labelled(path) == list(zip(expected, [A, B], strict=True))


def test_labels_in_the_keys_of_several_shards(tmp_path):
    for n in range(2):
        write_tar(tmp_path / f"train-{n:06}.tar", [(f"cat/{n}.jpg", A), (f"dog/{n}.jpg", B)])
    found = images(tmp_path, format="webdataset")
    assert [(r.label, r.split) for r, _ in found] == [("cat", "train"), ("dog", "train")] * 2


def test_splits_in_the_keys_of_a_shard(tmp_path):
    members = [("train/1.jpg", A), ("train/1.cls", b"x"), ("val/2.jpg", B), ("val/2.cls", b"y")]
    found = images(write_tar(tmp_path / "x.tar", members))
    assert [(r.label, r.split) for r, _ in found] == [("x", "train"), ("y", "val")]


def test_a_folder_with_notes_beside_its_images_is_an_archive(tmp_path):
    members = [
        (f"toy/{label}/1.{ending}", data)
        for label in shards.CLASSES
        for ending, data in (("jpg", A), ("json", b'{"caption": "x"}'), ("txt", b"a caption"))
    ]
    path = write_tar(tmp_path / "x.tar", members)
    assert listed(path).kind == "archive"
    assert {r.label for r, _ in images(path)} == {*shards.CLASSES}


def test_webdataset_choices(tmp_path):
    members = [("1.jpg", A), ("1.seg.png", B), ("1.txt", b"x"), ("1.json", b'{"breed": "y"}')]
    path = write_tar(tmp_path / "x.tar", members)
    said = refusal(path, columns=Columns(label="txt"))
    assert "jpg or seg.png" in said and 'data.columns.image = "jpg"' in said
    assert "has no label beside it" in refusal(path) and '"txt"' in refusal(path)
    assert labelled(path, columns=Columns(image="seg.png", label="txt")) == [("x", B)]
    for label in ("json.breed", "breed"):
        ((record, _),) = images(path, columns=Columns(image="jpg", label=label))
        assert record.label == "y"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.jpg", A), ("2.jpg", B), ("1.cls", b"x"), ("2.cls", b"y")], "tar --sort=name"),
        ([("1.jpg", A), ("1.cls", b"3"), ("1.json", b'{"label": "x"}')], "cls (numbers without"),
        ([("1.jpg", A), ("1.jpg", B), ("1.cls", b"x")], "two files end in .jpg"),
        ([("1.jpg", A), ("1.json", b"{")], "1.json: not valid JSON"),
        ([("1.jpg", A), ("1.cls", b"\xff")], "expected a label in UTF-8"),
        ([("1.jpg", A), ("1.cls", b"")], "there is no label"),
        ([("README.md", b"x")], "expected images and their labels in the tar, found none"),
    ],
)
def test_webdataset_that_is_refused(tmp_path, members, message):
    path = write_tar(tmp_path / "x.tar", members)
    assert message in refusal(path, format="webdataset")


def test_a_sample_whose_image_is_missing_is_quarantined(tmp_path):
    members = [("1.jpg", A), ("1.cls", b"x"), ("2.cls", b"y")]
    (_, _), (record, missing) = images(write_tar(tmp_path / "x.tar", members))
    assert record.path == b"x.tar#2" and record.label == "y" and missing.reason == "missing"


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_a_tar_that_is_cut_off(tmp_path, ending, kept):
    mode = "w:" + ending.removeprefix(".tar").removeprefix(".")
    for write in (
        lambda file: write_tar(file, PICTURES.items(), mode),
        lambda file: write_tar(
            file, [(f"{n}.{e}", d) for n in range(9) for e, d in (("jpg", A), ("cls", b"x"))], mode
        ),
    ):
        path = write(tmp_path / f"x{ending}")
        size = path.stat().st_size
        os.truncate(path, int(size * kept) if mode != "w:" else 1024 * max(1, int(8 * kept)))
        assert "the tar is cut off or damaged" in refusal(path)


def test_a_tar_that_is_cut_off_anywhere(tmp_path):
    noise = random.Random(0).randbytes(1500)
    whole = write_tar(
        tmp_path / "whole.tar",
        [("1.cls", b"x"), ("1.jpg", A + noise), ("2.cls", b"y"), ("2.jpg", A)],
    ).read_bytes()
    end = len(whole.rstrip(b"\0"))
    for kept in range(1, end, 97):
        (tmp_path / "x.tar").write_bytes(whole[:kept])
        assert refusal(tmp_path / "x.tar")


def test_tars_that_were_appended_to_one_another(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("1.jpg", A), ("1.cls", b"x")])
    path.write_bytes(path.read_bytes() * 2)
    assert "goes on after its end" in refusal(path)


# Archives of folders.


@pytest.mark.parametrize("pack", [write_zip, write_tar], ids=["zip", "tar"])
@pytest.mark.parametrize("wrapper", ["", "toy/", "./toy/images/"])
def test_folders_that_are_round_everything_are_passed(tmp_path, pack, wrapper):
    members = [(f"{wrapper}{path}", data) for path, data in PICTURES.items()]
    members += [(f"{wrapper}train.txt", b"-"), ("__MACOSX/._x", b"-"), (f"{wrapper}README", A[:0])]
    path = pack(tmp_path / ("x.zip" if pack is write_zip else "x.tar"), members)
    source = listed(path)
    assert {r.path.decode().rpartition(r.label + "/")[2] for r in source.records} == {
        p.rpartition("/")[2] for p in PICTURES
    }
    assert {r.label for r in source.records} == {*shards.CLASSES}
    assert len(images(path)) == len(PICTURES)


def test_split_folders_in_an_archive(tmp_path):
    members = [
        (f"x/{split}/{path}", data) for split in ("train", "val") for path, data in PICTURES.items()
    ]
    source = listed(write_zip(tmp_path / "x.zip", members))
    assert {(r.split, r.label) for r in source.records} == {
        (s, label) for s in ("train", "val") for label in shards.CLASSES
    }


def test_an_archive_for_each_split(tmp_path):
    for split in ("train", "test"):
        write_zip(tmp_path / f"{split}.zip", [(f"{split}/{p}", d) for p, d in PICTURES.items()])
    found = images(tmp_path)
    assert {(r.split, r.path.decode().split("/")[0]) for r, _ in found} == {
        ("train", "train"),
        ("test", "test"),
    }
    assert len(found) == 2 * len(PICTURES)


def test_archives_that_are_parts_of_one_folder(tmp_path):
    """As they come from a drive in the cloud."""
    members = [(f"toy/{path}", data) for path, data in PICTURES.items()]
    write_zip(tmp_path / "toy-20260101T-001.zip", members[::2])
    write_zip(tmp_path / "toy-20260101T-002.zip", members[1::2])
    assert sorted(labelled(tmp_path)) == sorted(
        (shards.label_of(p), d) for p, d in PICTURES.items()
    )


def test_an_archive_for_each_class(tmp_path):
    for label in shards.CLASSES:
        members = [(p.split("/")[1], d) for p, d in PICTURES.items() if p.startswith(label)]
        write_tar(tmp_path / f"{label}.tar", members)
    assert sorted(labelled(tmp_path)) == sorted(
        (shards.label_of(p), d) for p, d in PICTURES.items()
    )


def test_a_path_that_is_in_two_archives(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, PICTURES.items())
    assert "cat/0.png is in two of the archives" in refusal(tmp_path)


def test_names_as_zips_have_them(tmp_path):
    """UTF-8 that is not said to be (Apple), backslashes (Microsoft), the last of two."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("cat\\1.png")
        info.filename = "cat\\1.png"
        archive.writestr(info, A)
        archive.writestr("zaba/1.png", B)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("zaba/1.png", A)
    raw = path.read_bytes().replace(b"zaba", "žab".encode())
    path.write_bytes(raw)
    assert labelled(path) == [("cat", A), ("žab", A)]


def test_nothing_leads_out_of_an_archive(tmp_path):
    outside = [("../evil/1.png", A), ("/etc/1.png", A), ("a/../../x/1.png", A), ("C:\\y\\1.png", A)]
    source = listed(write_zip(tmp_path / "x.zip", [*PICTURES.items(), *outside]))
    assert len(source.records) == len(PICTURES)
    assert [q.reason for q in source.quarantined] == ["outside-the-archive"] * 4
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_links_in_a_tar(tmp_path):
    path = write_tar(tmp_path / "x.tar", PICTURES.items())
    with tarfile.open(path, "a") as tar:
        for name, kind, target in (
            ("cat/hard.png", tarfile.LNKTYPE, "cat/0.png"),
            ("cat/soft.png", tarfile.SYMTYPE, "../žába/1.png"),
            ("cat/dangling.png", tarfile.SYMTYPE, "nowhere.png"),
            ("cat/loop.png", tarfile.SYMTYPE, "loop.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    found = {r.path.decode(): data for r, data in images(path)}
    assert found["cat/hard.png"] == PICTURES["cat/0.png"]
    assert found["cat/soft.png"] == PICTURES["žába/1.png"]
    missing = {q.path: q.reason for q in listed(path).quarantined}
    assert missing == {b"cat/dangling.png": "missing", b"cat/loop.png": "missing"}
    assert "cat/soft.png" not in {r.path.decode() for r, _ in images(path, follow_symlinks=False)}


def test_an_encrypted_zip(tmp_path):
    path = write_zip(tmp_path / "x.zip", PICTURES.items())
    raw = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + at] |= 1
    path.write_bytes(raw)
    assert "cat/0.png is encrypted" in refusal(path)


def test_a_damaged_member_is_quarantined(tmp_path):
    path = write_zip(tmp_path / "x.zip", PICTURES.items())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"IDAT")
    raw[at : at + 8] = bytes(8)
    path.write_bytes(raw)
    found = images(path)
    assert [r.path for r, d in found if isinstance(d, BadImage)] == [b"cat/0.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_whose_packing_is_damaged_is_quarantined(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)
        first = archive.infolist()[0]
    raw = bytearray((tmp_path / "x.zip").read_bytes())
    begin = first.header_offset + 30 + len(first.filename) + 12
    raw[begin : first.header_offset + 30 + len(first.filename) + first.compress_size] = bytes(
        b ^ 0xA5 for b in raw[begin : begin - 12 + first.compress_size]
    )
    (tmp_path / "x.zip").write_bytes(raw)
    found = images(tmp_path / "x.zip")
    assert [r.path for r, d in found if isinstance(d, BadImage)] == [os.fsencode(first.filename)]


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("components.example_gen.shards.archive.MAX_FILE_BYTES", 1000)
    bomb = [*PICTURES.items(), ("cat/bomb.png", bytes(5000))]
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in bomb:
            archive.writestr(name, data)
    for path in (tmp_path / "x.zip", write_tar(tmp_path / "x.tar.gz", bomb, "w:gz")):
        (bad,) = [d for _, d in images(path) if isinstance(d, BadImage)]
        assert bad.reason == "too-large"


def test_a_manifest_in_an_archive(tmp_path):
    path = write_zip(tmp_path / "x.zip", [("x/list.csv", b"path,label"), ("x/images/1.png", A)])
    assert "The archive holds a manifest (x/list.csv)" in refusal(path)


def test_no_images_in_an_archive(tmp_path):
    assert "found no images" in refusal(write_zip(tmp_path / "x.zip", [("a.parquet", b"x")]))


# Of what is given as a whole.


def test_a_shard_with_test_images_and_no_share_for_them(tmp_path):
    for split in ("train", "test"):
        shards.as_parquet(tmp_path / f"{split}.parquet", PICTURES)
    with pytest.raises(DataError, match=r"There are test images, but data\.splits has no share"):
        listed(tmp_path, splits={"train": 0.8, "val": 0.2})


def test_memory_does_not_grow_with_a_shard(tmp_path):
    """A row group of 64 MiB is read in parts."""
    columns = {
        "image": [A + os.urandom(1 << 20) for _ in range(64)],
        "label": [*map(str, range(64))],
    }
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path, write_batch_size=4)
    source = listed(path)
    before = pa.total_allocated_bytes()
    most = 0
    for record, _ in reader("parquet").read(str(path), source.shards[0], Columns()):
        assert isinstance(record, Record)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 32 << 20
