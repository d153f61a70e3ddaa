"""Listing folders, manifests and TFRecords; spans; the dataset digest."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from components.example_gen import spans
from components.example_gen.config import DataConfig, evaluation_split, from_json, to_json
from components.example_gen.digest import fingerprint, hash_file
from components.example_gen.records import Source, check_label
from components.example_gen.source import list_source

pytestmark = pytest.mark.quick


def touch_image(path, shade=0):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.new("RGB", (4, 3), (shade % 256, shade // 256, 7)).save(path, "PNG")


def fill(root, *names):
    for shade, name in enumerate(names):
        touch_image(os.path.join(str(root), name), shade)


def listed(path, **config) -> Source:
    return list_source(DataConfig(path=str(path), **config), str(path))


def rows(source):
    return {(r.path.decode("utf-8", "backslashreplace"), r.label, r.split) for r in source.records}


# Folders.


def test_class_folders_nested_with_spaces_and_non_ascii(tmp_path):
    fill(tmp_path, "cat/a b.jpg", "cat/deep/er/c.PNG", "žába/ň.png", "cat/no_extension")
    assert rows(listed(tmp_path)) == {
        ("cat/a b.jpg", "cat", None),
        ("cat/deep/er/c.PNG", "cat", None),
        ("cat/no_extension", "cat", None),
        ("žába/ň.png", "žába", None),
    }


def test_file_name_that_is_not_utf8_is_kept_as_bytes(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    os.rename(tmp_path / "b/1.png", os.path.join(os.fsencode(tmp_path), b"b/\xff.png"))
    source = listed(tmp_path)
    assert source.records[1].path == b"b/\xff.png"
    assert hash_file(source.file(source.records[1]))[0]


def test_class_name_that_is_not_utf8_is_named(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    os.rename(tmp_path / "b", os.path.join(os.fsencode(tmp_path), b"\xff"))
    with pytest.raises(DataError, match=r"class name in UTF-8.*rename"):
        listed(tmp_path)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Eval"])
def test_split_folders(tmp_path, val):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", f"{val}/a/2.png", "test/b/3.png")
    assert {(label, split) for _, label, split in rows(listed(tmp_path))} == {
        ("a", "train"),
        ("b", "train"),
        ("a", "val"),
        ("b", "test"),
    }


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, "train/1.png", "bus/1.png")
    assert {label for _, label, _ in rows(listed(tmp_path))} == {"train", "bus"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "one folder per class"),
        (["loose.png"], r"found 1 image in no folder \(loose.png\)"),
        (["a/readme.txt"], r"1 × \*\.txt"),
        (["a/1.png"], "at least two classes, got .'a'."),
        (["train/a/1.png", "train/b/1.png", "extra/a/1.png"], "unknown split 'extra'"),
        (["train/a/1.png", "val/a/1.png", "eval/b/1.png"], "two folders are the split 'val'"),
        (["val/a/1.png", "test/b/1.png"], "expected a folder train/"),
        (["a\n/1.png", "b/1.png"], r"a\\n: .* without control characters .* got 'a\\n'"),
        (["\u00e9/1.png", "e\u0301/1.png"], "look the same"),
    ],
)
def test_unusable_folders(tmp_path, names, message):
    fill(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        listed(tmp_path)


def test_missing_path_and_wrong_file(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        listed(tmp_path / "nowhere")
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="the zip is cut off or damaged"):
        listed(tmp_path / "data.zip")
    (tmp_path / "data.bin").write_bytes(b"PK")
    with pytest.raises(DataError, match="expected a folder, an archive of one"):
        listed(tmp_path / "data.bin")


def test_test_images_without_a_share_for_test(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png")
    with pytest.raises(DataError, match="no share for 'test'"):
        listed(tmp_path, splits={"train": 0.9, "val": 0.1})


def test_what_is_ignored_is_counted(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    for name in ("a/.DS_Store", "a/Thumbs.db", "a/notes.txt", "b/notes.TXT", "labels.xml"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    source = listed(tmp_path)
    assert source.ignored == {"hidden or system files": 3, "*.txt": 2, "*.xml": 1}
    assert len(source.records) == 2


def test_directories_named_as_images_and_loose_images_are_quarantined(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png", "loose.png")
    (tmp_path / "a" / "x.jpg").mkdir()
    source = listed(tmp_path)
    assert {(q.path, q.reason) for q in source.quarantined} == {
        (b"a/x.jpg", "directory"),
        (b"loose.png", "outside-class-folders"),
    }


def test_symbolic_links_are_followed_once_and_loops_end(tmp_path):
    fill(tmp_path / "store", "x/1.png")
    fill(tmp_path / "data", "a/1.png")
    os.symlink(tmp_path / "store/x", tmp_path / "data/b")
    os.symlink(tmp_path / "data/a", tmp_path / "data/a/loop")
    os.symlink("self", tmp_path / "data/a/self")
    source = listed(tmp_path / "data")
    assert rows(source) == {
        ("a/1.png", "a", None),
        ("a/self", "a", None),
        ("b/1.png", "b", None),
    }
    assert source.ignored == {"folders linked more than once": 1}
    with pytest.raises(DataError, match="at least two classes"):
        listed(tmp_path / "data", follow_symlinks=False)


# Manifests.


def write(path, text):
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_csv_manifest_with_splits_and_extra_columns(tmp_path):
    text = (
        '\ufeffpath,label,split,camera\r\nimg/1.png,cat,train,"A, left"\r\n/abs/2.png,dog,eval,\r\n'
    )
    write(tmp_path / "list.csv", text)
    fill(tmp_path, "img/1.png")
    source = listed(tmp_path)  # one manifest, one folder: a manifest
    assert source.kind == "manifest" and source.extra_columns == ("camera",)
    assert [(r.path, r.label, r.split, r.extra) for r in source.records] == [
        (b"img/1.png", "cat", "train", (("camera", "A, left"),)),
        (b"/abs/2.png", "dog", "val", (("camera", ""),)),
    ]
    assert source.file(source.records[0]) == os.fsencode(tmp_path / "img/1.png")
    assert source.file(source.records[1]) == b"/abs/2.png"


def test_json_lines_manifest(tmp_path):
    lines = [
        {"path": "1.png", "label": "cat", "iso": 100, "flash": True},
        {"path": "2.png", "label": "dog", "place": None},
    ]
    text = "\n\n".join(map(json.dumps, lines)) + "\n"
    source = listed(write(tmp_path / "list.jsonl", text))
    assert source.extra_columns == ("iso", "flash", "place")
    assert source.records[0].extra == (("iso", "100"), ("flash", "true"), ("place", ""))


def test_manifest_paths_need_not_be_utf8(tmp_path):
    source = listed(write(tmp_path / "m.csv", "path,label\n\udcff.png,a\nb.png,b\n"))
    assert source.records[0].path == b"\xff.png"


def test_repeated_lines_are_counted_once(tmp_path):
    source = listed(write(tmp_path / "m.csv", "path,label\n1.png,a\n./1.png,a\n2.png,b\n"))
    assert len(source.records) == 2 and source.ignored == {"repeated lines": 1}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "", "header with the columns path and label"),
        ("m.csv", "path,label\n", "a line for each image"),
        ("m.csv", "id,label\n1.png,a\n", "columns path and label .* got 'id', 'label'"),
        ("m.csv", "path:label\n1.png:a\n", "got 'path:label'"),
        ("m.csv", "path,label,label\n1.png,a,b\n", "names 'label' twice"),
        ("m.csv", "path,label\n1.png\n", r"line 2: expected 2 values"),
        ("m.csv", 'path,label\n1.png,"a\n', r"line 2: not valid CSV"),
        ("m.csv", "path,label\n1.png,\n", r"line 2: expected a value for 'label'"),
        ("m.csv", "path,label\n1.png,\udcff\n", r"line 2: expected a class name in UTF-8"),
        ("m.csv", "path,label,x\n1.png,a,\udcff\n", r"line 2: expected text in UTF-8"),
        ("m.csv", "path,label,\n1.png,a,b\n", "column is called ''"),
        ("m.csv", "path,label,image/width\n1.png,a,4\n", "'image/width' has a name that"),
        ("m.csv", "path,label,split\n1.png,a,holdout\n", "unknown split 'holdout'"),
        ("m.csv", "path,label,split\n1.png,a,train\n2.png,b,\n", "filled in some lines only"),
        ("m.csv", "path,label,split\n1.png,a,val\n2.png,b,test\n", "no line has the split train"),
        ("m.csv", "path,label\n1.png,a\n1.png,b\n", r"1.png .* different labels: 'a' and 'b'"),
        ("m.csv", "path,label\n1.png,a\n2.png,a\n", "at least two classes"),
        ("m.jsonl", '{"path": "1.png", "label": "a"}\n{oops\n', "line 2: not valid JSON"),
        ("m.jsonl", '["1.png", "a"]\n', "line 1: expected an object"),
        ("m.jsonl", '{"path": "1.png", "label": ["a"]}\n', "expected text or a number"),
        ("m.jsonl", '{"path": "\\ud800", "label": "a"}\n', "expected text in UTF-8"),
    ],
)
def test_unusable_manifests(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        listed(write(tmp_path / name, text))


def test_folder_with_two_manifests(tmp_path):
    write(tmp_path / "a.csv", "path,label\n")
    write(tmp_path / "b.csv", "path,label\n")
    with pytest.raises(DataError, match=r"exactly one manifest .* found a.csv, b.csv"):
        listed(tmp_path)


# TFRecords.


def test_tfrecord_folders(tmp_path):
    for name in ("Split-train/data_tfrecord-00000-of-00001.gz", "Split-eval/x.tfrecord"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"not looked at yet")
    assert {(os.fsdecode(s.path), s.split) for s in listed(tmp_path).shards} == {
        ("Split-train/data_tfrecord-00000-of-00001.gz", "train"),
        ("Split-eval/x.tfrecord", "val"),
    }
    os.rename(tmp_path / "Split-train", tmp_path / "Split-test")
    with pytest.raises(DataError, match="expected files of the split train beside test, val"):
        listed(tmp_path)


# Spans and versions.


@pytest.fixture
def spanned(tmp_path):
    for name in ("span-1/v-1", "span-2/v-1", "span-2/v-2", "span-10/v-3", "span-10/v-10"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "span-old" / "v-1").mkdir(parents=True)
    return f"{tmp_path}/span-{{SPAN}}/v-{{VERSION}}"


@pytest.mark.parametrize(
    ("span", "version", "expected"),
    [(None, None, (10, 10)), (2, None, (2, 2)), (2, 1, (2, 1)), (None, 1, (2, 1))],
)
def test_latest_span_then_latest_version(spanned, span, version, expected):
    found = spans.resolve(spanned, span, version)
    assert (found.span, found.version) == expected
    assert found.path == spanned.format(SPAN=expected[0], VERSION=expected[1])


def test_zero_padded_spans_and_dates(tmp_path):
    for name in ("00000002", "00000010", "11"):
        (tmp_path / "padded" / name).mkdir(parents=True)
    found = spans.resolve(f"{tmp_path}/padded/{{SPAN:8}}")
    assert (found.span, os.path.basename(found.path)) == (10, "00000010")
    for name in ("2026-11-23", "2026-02-31", "2025-12-31"):
        (tmp_path / "dates" / name).mkdir(parents=True)
    assert spans.resolve(f"{tmp_path}/dates/{{YYYY}}-{{MM}}-{{DD}}").span == 20780


@pytest.mark.parametrize(
    ("pattern", "options", "message"),
    [
        ("{SPAN}", {}, r"Nothing matches the data path '.*\{SPAN\}'"),
        ("span-{SPAN}/v-{VERSION}", {"span": 7}, r"with span 7. Spans there: 1 \(version 1\)"),
        ("{VERSION}", {}, "has {VERSION} but no {SPAN}"),
        ("{SPAN}/{SPAN}", {}, "names SPAN twice"),
        ("{YYYY}-{MM}", {}, "all of {YYYY}, {MM} and {DD}"),
        ("x", {"span": 1}, "has no {SPAN}, but span is set to 1"),
        ("{SPAN}", {"version": 1}, "has no {VERSION}, but version is set to 1"),
    ],
)
def test_unusable_patterns(spanned, tmp_path, pattern, options, message):
    with pytest.raises(DataError, match=message):
        spans.resolve(f"{tmp_path}/{pattern}", **options)


# The config and the digest.


def test_config_round_trip_and_evaluation_split():
    config = DataConfig(path="x", splits={"train": 0.9, "val": 0.1})
    assert from_json(to_json(config)) == config
    assert (evaluation_split(config), evaluation_split(DataConfig(path="x"))) == ("val", "test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": " "}, "path: expected"),
        ({"path": "x", "splits": {"train": 0.9, "val": 0.2}}, "adding up to 1, got 1.1"),
        ({"path": "x", "splits": {"train": 0.9, "tset": 0.1}}, "Did you mean 'test'"),
        ({"path": "x", "splits": {"train": 0.5, "test": 0.5}}, "'val' is missing"),
        ({"path": "x", "max_pixels": 0}, "max_pixels: expected 1 or more"),
        ({"path": "x", "max_quarantine_fraction": 1.5}, "expected 0 to 1"),
        ({"path": "x", "fromat": "folder"}, "Did you mean 'format'"),
    ],
)
def test_config_refuses(values, message):
    with pytest.raises(ConfigError, match=message):
        from_json(json.dumps(values))


def test_digest_follows_content_and_not_times_or_place(tmp_path):
    fill(tmp_path / "one", "a/1.png", "b/2.png")
    fill(tmp_path / "two", "a/1.png", "b/2.png")
    first = fingerprint(listed(tmp_path / "one"))
    os.utime(tmp_path / "two/a/1.png", (1, 1))
    assert fingerprint(listed(tmp_path / "two")) == first
    touch_image(str(tmp_path / "two/a/1.png"), shade=9)
    assert fingerprint(listed(tmp_path / "two")) != first
    os.rename(tmp_path / "one/b", tmp_path / "one/c")
    assert fingerprint(listed(tmp_path / "one")) != first


# --- Class names


INEXACT = {
    **{f"U+{ord(c):04X}": f"a{c}b" for c in "\0\t\n\x0b\x0c\r\x1b\x1c\x1d\x1e\x7f\x85\u2028\u2029"},
    "space before": " a",
    "space after": "a ",
    "wide space after": "a\u3000",
    "space alone": " ",
    "empty": "",
    "long": "x" * 256,
    "long in bytes": "\u00e9" * 128,
}


@pytest.mark.parametrize("label", INEXACT.values(), ids=INEXACT)
def test_a_class_name_that_cannot_be_kept_exactly_is_refused(tmp_path, label):
    with pytest.raises(DataError) as e:
        check_label(label, "somewhere")
    message = str(e.value)
    assert message.isprintable() and message.endswith("; rename it.") and len(message) < 500
    row = json.dumps({"path": "1.png", "label": label})
    with pytest.raises(DataError):
        listed(write(tmp_path / "m.jsonl", row + '\n{"path": "2.png", "label": "b"}\n'))
    if label and "\0" not in label and len(label.encode()) < 256:
        folder = tmp_path / "data"
        fill(folder, f"{label}/1.png", "b/1.png")
        with pytest.raises(DataError) as e:
            listed(folder)
        assert str(e.value).isprintable()


EXACT = [
    "a b",
    "A",
    "a",
    "\u00e9",
    "a\u00a0b",
    "\u200b",
    "a, b",
    '"a"',
    "a=b;c",
    "[bold]",
    "$x_$",
    "#1",
    "-",
    "0",
    "00",
]


def test_other_class_names_are_kept_as_they_are(tmp_path):
    import csv

    fill(tmp_path / "data", *(f"{label}/1.png" for label in EXACT))
    assert {label for _, label, _ in rows(listed(tmp_path / "data"))} == set(EXACT)
    with open(tmp_path / "m.csv", "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows(
            [("path", "label"), *((f"{i}.png", n) for i, n in enumerate(EXACT))]
        )
    lines = [json.dumps({"path": f"{i}.png", "label": n}) for i, n in enumerate(EXACT)]
    write(tmp_path / "m.jsonl", "\n".join(lines))
    for name in ("m.csv", "m.jsonl"):
        assert [r.label for r in listed(tmp_path / name).records] == EXACT


@pytest.mark.parametrize("format_", ["auto", "manifest", "tfrecord"])
def test_what_is_neither_a_folder_nor_a_file_is_refused_unread(tmp_path, format_):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (os.devnull, str(tmp_path / "pipe.csv")):
        with pytest.raises(DataError, match="expected a folder or a file, got a device, pipe"):
            list_source(DataConfig(path=path, format=format_), path)
