"""Manifests as spreadsheets, scripts and labelling tools write them."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from components.example_gen.config import Columns, DataConfig
from components.example_gen.digest import fingerprint
from components.example_gen.records import Source
from components.example_gen.report import check_listed
from components.example_gen.source import list_source

pytestmark = pytest.mark.quick

TWO = [("a.png", "cat", None), ("b.png", "dog", None)]
"""What the manifests of tables below say."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files(tmp_path, "a.png", "b.png")
    return tmp_path


def files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def listed(path: Path, **config) -> Source:
    return list_source(DataConfig(path=str(path), **config), str(path))


def of(folder: Path, text: str | bytes, name: str = "m.csv") -> Source:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    (folder / name).write_bytes(data)
    return listed(folder / name)


def of_text(folder: Path, text: str, name: str = "m.csv") -> str:
    (folder / name).write_text(text)
    return name


def of_json(folder: Path, data: object, name: str = "m.json") -> Source:
    return of(folder, json.dumps(data), name)


def rows(source: Source) -> list[tuple[str, str, str | None]]:
    return [(os.fsdecode(r.path), r.label, r.split) for r in source.records]


def paths(source: Source) -> list[str]:
    return [os.fsdecode(r.path) for r in source.records]


# --- Tables


TABLE = "path,label\na.png,cat\nb.png,dog\n"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "|"),
        TABLE.replace(",", " | "),
        "sep=;\r\n" + TABLE.replace(",", ";"),
        "sep=,\n" + TABLE,
        '"sep=\t"\n' + TABLE.replace(",", "\t"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        "\n\n" + TABLE,
        TABLE.replace(",", ", "),
        TABLE.replace(",", " ,\t"),
        TABLE.replace("cat", "cat\xa0"),
        "\ufeff\ufeff" + TABLE,
        "\ufeff" + TABLE.replace("path", '"path"'),
        'path, "label"\n"a.png" , "cat"\n "b.png", "dog" \n',
        TABLE + ",\n,\n",
        TABLE + " \n",
        TABLE.replace("\n", ",,\n") + ",,,\n",
        TABLE.replace("\ne", ",,\n"),
        "path,label,,\na.png,cat\nb.png,dog,,\n",
        ",path,label\n0,a.png,cat\n7,b.png,dog\n",
        "Unnamed: 0,path,label\n0,a.png,cat\n0,b.png,dog\n",
        "Unnamed: 0.1,Unnamed: 0,path,label\n0,0,a.png,cat\n1,1,b.png,dog\n",
        TABLE.replace("path,label", "Path,Label"),
        TABLE.replace("path,label", " PATH , LABEL "),
        TABLE.replace("path,label", "filename,class"),
        TABLE.replace("path,label", "file,category"),
        TABLE.replace("path,label", "Image Path,Target"),
        TABLE.replace("path,label", "image_id,labels"),
        TABLE.replace("path,label", "file_name,Class Name"),
    ],
)
def test_a_table_is_read_however_it_is_laid_out(folder: Path, text: str) -> None:
    source = of(folder, text)
    assert rows(source) == TWO and source.extra_columns == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.json"])
def test_a_byte_order_mark_names_the_encoding(folder: Path, encoding: str, name: str) -> None:
    files(folder, "žába.png")
    text = "path,label\nžába.png,ža\na.png,b\n"
    if "json" in name:
        objects = [{"path": "žába.png", "label": "ža"}, {"path": "a.png", "label": "b"}]
        lines = map(json.dumps, objects)
        text = json.dumps(objects) if name == "m.json" else "\n".join(lines)
    data = text.encode(encoding)
    assert rows(of(folder, data, name)) == [("žába.png", "ža", None), ("a.png", "b", None)]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (TABLE.encode("utf-16-le"), "zero bytes, as UTF-16 has; save it as UTF-8"),
        (b"\xff\xfe" + TABLE.encode() + b"\x00\xd8", "none from byte .* save it as UTF-8"),
        ("path,label\na.png,café\n".encode("cp1252"), "line 2: .* 'café' in Windows-1252; save"),
        (b"PK\x03\x04...", "an Excel workbook; save it as CSV in UTF-8"),
        (b"\x1f\x8b...", "compressed by gzip"),
        (b"PAR1...", "a Parquet file"),
    ],
)
def test_what_is_not_utf8_is_named(folder: Path, data: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        of(folder, data)


def test_empty_rows_are_counted_and_lines_keep_their_numbers(folder: Path) -> None:
    source = of(folder, "path,label,note\na.png,cat,\n,,\nb.png,dog,x\n,,\n")
    assert source.ignored == {"empty rows": 2} and source.extra_columns == ("note",)
    with pytest.raises(DataError, match="line 5: expected a value for 'Label', got none"):
        of(folder, "sep=,\nPath,Label\na.png,cat\n,\nb.png,\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,image,label\na.png,b.png,cat\n", "'file' and 'image' could each be the path; call"),
        ("path,class,category\na.png,cat,x\n", "'class' and 'category' could each be the label"),
        ("path,label,Split,SPLIT\na.png,cat,train,val\n", "each be the split"),
        ("id,breed\na,cat\n", r"expected the columns path and label .* got 'id', 'breed'; name"),
        ("a.png,cat\nb.png,dog\n", "first line: expected the columns path and label"),
        (",label\na.png,cat\n", "got '', 'label'; name them so"),
        ("path,label,\na.png,cat,x\n", "a column is called ''"),
        ("path,label\na.png,cat,dog\n", "line 2: expected 2 values .* must stand in quotes"),
        ("path,label,Label\na.png,,cat\n", "expected a value for 'label'"),
    ],
)
def test_a_table_that_could_mean_two_things_is_refused(folder: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        of(folder, text)


def test_columns_under_common_names_are_told(folder: Path) -> None:
    source = of(folder, "Image,Category,subset\na.png,cat,train\nb.png,dog,train\n")
    (notice,) = source.notices
    assert "'Image' as the path, 'Category' as the label, 'subset' as the split" in notice
    assert {split for *_, split in rows(source)} == {"train"} and source.extra_columns == ()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("id;breed\na;cat\nb;dog\n", {"image": "id", "label": "breed"}),
        ("Pfad,Klasse\na.png,cat\nb.png,dog\n", {"image": "Pfad", "label": "Klasse"}),
        ("path,label,genus\na.png,x,cat\nb.png,y,dog\n", {"label": "genus"}),
        ("path,cat,dog,name\na.png,1,0,cat\nb.png,0,1,dog\n", {"label": "name"}),
    ],
)
def test_columns_are_those_that_the_config_names(folder: Path, text: str, columns: dict) -> None:
    (folder / "m.csv").write_text(text)
    source = listed(folder / "m.csv", columns=Columns(**columns))
    assert rows(source) == TWO
    assert not any("common names" in notice for notice in source.notices)


def test_a_column_that_splits_is_the_one_the_config_names(folder: Path) -> None:
    (folder / "m.csv").write_text("path,label,use\na.png,cat,train\nb.png,dog,test\n")
    source = listed(folder / "m.csv", columns=Columns(split="use"))
    assert [r.split for r in source.records] == ["train", "test"]


def test_a_refusal_says_how_to_name_the_columns(folder: Path) -> None:
    message = r'got \'id\', \'breed\'; .*data\.columns = \{image = "id", label = "breed"\}'
    with pytest.raises(DataError, match=message):
        of(folder, "id,breed\na,cat\nb,dog\n")
    with pytest.raises(DataError, match=r"columns.label is 'lable', got .*Did you mean 'label'"):
        listed(folder / of_text(folder, TABLE), columns=Columns(label="lable"))


def test_numbers_are_called_by_the_class_names_of_the_config(folder: Path) -> None:
    name = of_text(folder, "Path,ClassId\na.png,0\nb.png,1\n")
    assert rows(listed(folder / name, class_names=("cat", "dog"))) == TWO
    with pytest.raises(DataError, match="the label 2 has no name"):
        listed(folder / of_text(folder, "path,label\na.png,0\nb.png,2\n"), class_names=("x", "y"))


def test_class_folders_have_no_columns(tmp_path: Path) -> None:
    files(tmp_path, "cat/a.png", "dog/b.png")
    for config in ({"columns": Columns(label="x")}, {"class_names": ("a", "b")}):
        with pytest.raises(DataError, match="class folders have no columns"):
            listed(tmp_path, **config)


def test_a_column_that_is_called_set_and_holds_no_splits_is_an_extra_one(folder: Path) -> None:
    source = of(folder, "path,label,set\na.png,cat,A\nb.png,dog,B\n")
    assert source.extra_columns == ("set",) and rows(source) == TWO


def test_the_name_of_a_role_wins_over_common_ones(folder: Path) -> None:
    source = of(folder, "file,path,class,label\nx,a.png,1,cat\ny,b.png,2,dog\n")
    assert rows(source) == TWO and source.extra_columns == ("file", "class")


ONE_HOT = "filename, cat, dog\na.png, 1, 0\nb.png, 0, 1\n"


@pytest.mark.parametrize(
    "text",
    [
        ONE_HOT,
        ONE_HOT.replace("1", "1.0").replace("0", "0.0").replace("1.0.0", "1.0"),
        "image,cat,dog,owl\na.png,1,0,0\nb.png,0,1,0\n",
    ],
)
def test_a_column_for_each_class_is_read_as_the_label(folder: Path, text: str) -> None:
    source = of(folder, text)
    assert rows(source) == TWO and source.extra_columns == ()
    assert "'cat', 'dog'" in source.notices[0] and "read as the classes" in source.notices[0]
    split = of(folder, "path,split,cat,dog\na.png,train,1,0\nb.png,train,0,1\n")
    assert rows(split) == [(*row[:2], "train") for row in TWO]


def test_rows_of_no_class_or_several_are_quarantined(folder: Path) -> None:
    source = of(folder, ONE_HOT + "c.png,1,1\nd.png,0,0\n")
    assert rows(source) == TWO
    assert [q.reason for q in source.quarantined] == ["several-labels", "no-label"]
    with pytest.raises(DataError, match="expected the columns path and label"):
        of(folder, ONE_HOT.replace("1", "2"))
    with pytest.raises(DataError, match="of 1 images 0 have no class and 1 several"):
        of(folder, "path,cat,dog\na.png,1,1\n")


# --- Labels


@pytest.mark.parametrize("label", ["NaN", "nan", "<NA>", "#N/A", "#NAME?"])
def test_a_label_that_stands_for_none_is_refused(folder: Path, label: str) -> None:
    with pytest.raises(DataError, match=f"line 3: the label is '{label[:4]}.*remove the line"):
        of(folder, f"path,label\na.png,cat\nb.png,{label}\n")
    with pytest.raises(DataError, match="line 1: the label is 'NaN'"):
        of(folder, '{"path": "a.png", "label": NaN}', "m.jsonl")


@pytest.mark.parametrize("labels", [("NA", "None"), ("01", "1"), ("null", "N/A"), ("yes", "1e3")])
def test_labels_stay_text(folder: Path, labels: tuple[str, str]) -> None:
    source = of(folder, f"path,label\na.png,{labels[0]}\nb.png,{labels[1]}\n")
    assert tuple(r.label for r in source.records) == labels


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("2.00", "2"), ("3", "3,0"), ("true", "True"), ("FALSE", "false")],
)
def test_one_number_or_truth_written_in_two_ways_is_refused(
    folder: Path, one: str, other: str
) -> None:
    with pytest.raises(DataError, match=f"line 3: the label '{other}' may be the class '{one}' of"):
        of(folder, f'path,label\na.png,"{one}"\nb.png,"{other}"\n')


def test_numbers_and_truths_of_json_are_labels(folder: Path) -> None:
    both = of(
        folder, '{"path": "a.png", "label": true}\n{"path": "b.png", "label": 1.0}', "m.jsonl"
    )
    assert [r.label for r in both.records] == ["true", "1.0"]
    with pytest.raises(DataError, match=r"'1\.0' may be the class '1'"):
        of_json(folder, [{"path": "a.png", "label": 1}, {"path": "b.png", "label": 1.0}])
    with pytest.raises(DataError, match="item 2: expected a value for 'label'"):
        of_json(folder, [{"path": "a.png", "label": 1}, {"path": "b.png", "label": None}])


# --- Paths


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("./img//a.png", "img/a.png"),
        ("img\\a.png", "img/a.png"),
        (".\\img\\a.png", "img/a.png"),
        ("IMG/A.PNG", "img/a.png"),
        ("img/a", "img/a.png"),
        ("img\\A", "img/a.png"),
        (" img/a.png ", "img/a.png"),
        ("img/a%20b.png", "img/a b.png"),
        (unicodedata.normalize("NFD", "img/é.png"), "img/é.png"),
        ("img/" + unicodedata.normalize("NFC", "ü.png"), unicodedata.normalize("NFD", "img/ü.png")),
        ("img/caf\udce9.png", "img/café.png"),
    ],
)
def test_a_path_that_can_mean_one_file_means_it(tmp_path: Path, written: str, file: str) -> None:
    files(tmp_path, file, "img/z.png")
    source = of(tmp_path, f"path,label\n{written},cat\nimg/z.png,dog\n")
    assert paths(source) == [file, "img/z.png"]
    assert len(source.notices) == (written not in ("./img//a.png", " img/a.png "))


@pytest.mark.parametrize("odd", ["a\\b.png", " a.png", "a%20b.png", "A.png", "a", "é.png"])
def test_a_file_that_is_called_so_is_meant_literally(tmp_path: Path, odd: str) -> None:
    files(tmp_path, odd, "a/b.png", "a.png") if odd != "a" else files(tmp_path, odd, "a.png")
    lines = [{"path": odd, "label": "cat"}, {"path": "a.png", "label": "dog"}]
    source = of(tmp_path, "\n".join(map(json.dumps, lines)), "m.jsonl")
    assert paths(source) == [odd, "a.png"] and not source.notices


def test_urls_of_files_are_their_paths(folder: Path) -> None:
    files(folder, "a b.png")
    text = f"path,label\nfile://{folder}/a%20b.png,cat\nfile://localhost{folder}/b.png,dog\n"
    assert paths(of(folder, text)) == ["a b.png", "b.png"]


def test_a_path_in_the_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert paths(of(folder, "path,label\n~/a.png,cat\nb.png,dog\n")) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "url", ["http://x.org/a.png", "HTTPS://x.org/a.png", "s3://b/a.png", "file://host/a.png"]
)
def test_other_urls_are_refused_with_the_remedy(folder: Path, url: str) -> None:
    with pytest.raises(DataError, match=f"line 3: .*the URL '{url}'; download the images"):
        of(folder, f"path,label\na.png,cat\n{url},dog\n")


@pytest.mark.parametrize("again", ["./a.png", "{0}/a.png", "{0}//./a.png", "link/a.png", "l.png"])
def test_one_file_under_two_paths_is_one_image(folder: Path, again: str) -> None:
    os.symlink(folder, folder / "link")
    os.symlink("a.png", folder / "l.png")
    again = again.format(folder)
    source = of(folder, f"path,label\na.png,cat\nb.png,dog\n{again},cat\n")
    assert rows(source) == TWO and source.ignored == {"repeated lines": 1}
    with pytest.raises(DataError, match=r"line 4: .* different splits: 'train' and 'test', the fi"):
        of(folder, f"path,label,split\na.png,cat,train\nb.png,dog,train\n{again},cat,test\n")


def test_absolute_and_relative_paths_make_one_data_set(folder: Path) -> None:
    os.symlink(folder, folder.parent / f"{folder.name}-link")
    relative = of(folder, "path,label\na.png,cat\nb.png,dog\n")
    absolute = of(folder, f"path,label\n{folder}/a.png,cat\n{folder}-link/b.png,dog\n")
    assert rows(absolute)[0] == TWO[0]
    assert fingerprint(of(folder, f"path,label\n{folder}/a.png,cat\n./b.png,dog\n")) == (
        fingerprint(relative)
    )
    assert rows(listed(folder.parent / f"{folder.name}-link/m.csv"))[0] == TWO[0]


def test_dots_are_followed_as_links_lead(tmp_path: Path) -> None:
    files(tmp_path, "deep/er/x.png", "deep/a.png", "a.png")
    os.symlink("deep/er", tmp_path / "link")
    source = of(tmp_path, "path,label\nlink/../a.png,cat\na.png,dog\n")
    assert len(source.records) == 2  # deep/a.png and a.png


# --- Files that are missing


def hint(source: Source) -> str:
    return next(r.hint for r in source.records if r.hint)


@pytest.mark.parametrize(
    ("written", "there", "told"),
    [
        ("img/a.jpg", ["img/a.png"], "there is img/a.png: write this path"),
        ("a.jpg", ["img/a.jpg"], "there is img/a.jpg"),
        ("x/a.jpg", ["img/x/a.jpg"], "there is img/x/a.jpg"),
        ("/img/a.jpg", ["img/a.jpg"], "there is img/a.jpg"),
        ("/home/me/set/img/a.jpg", ["img/a.jpg"], "there is img/a.jpg"),
        ("D:\\set\\img\\a.jpg", ["img/a.jpg"], "there is img/a.jpg"),
        ("img/A.JPG", ["img/a.jpg", "img/a.JPG"], "there are img/a.JPG and img/a.jpg: write the"),
        ("img/a", ["img/a.jpg", "img/a.png"], "there are img/a.jpg and img/a.png: write the one"),
        ("a.jpg", ["u/a.jpg", "v/a.jpg"], "there are u/a.jpg and v/a.jpg: write the one"),
        ("img/A.jpeg", ["img/a.jpg"], "there is img/a.jpg"),
        ("gone.jpg", [], "paths start from {0}"),
    ],
)
def test_the_first_missing_file_gets_a_hint(
    tmp_path: Path, written: str, there: list[str], told: str
) -> None:
    files(tmp_path, "b.png", *there)
    source = of(tmp_path, f"path,label\nb.png,dog\n{written},cat\n")
    assert hint(source).startswith("m.csv, line 3; ")
    assert told.format(tmp_path) in hint(source)
    assert paths(source) == ["b.png", written]


def test_too_many_missing_files_are_refused_before_any_is_read(folder: Path) -> None:
    text = "path,label\na.png,cat\nb.png,dog\n" + "z.png,cat\n" + "b.jpg,dog\n"
    source = of(folder, text)
    config = DataConfig(path="x")
    with pytest.raises(DataError, match="2 of 4 images are unusable") as refused:
        check_listed(source, config)
    assert "b.jpg: missing (m.csv, line 5; there is b.png: write this path)" in str(refused.value)
    check_listed(source, DataConfig(path="x", max_quarantine_fraction=0.5))


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "data/",
        "old/name/",
        "/",
        "/kaggle/input/pets/",
        "C:\\pets\\",
        "file:///content/",
        "../data/",
    ],
)
def test_paths_that_all_start_elsewhere_are_read_from_where_the_files_are(
    tmp_path: Path, prefix: str
) -> None:
    folder = tmp_path / "data"
    files(folder, "train/a.png", "train/b.png")
    inner = "" if not prefix else "train/"
    text = f"path,label\n{prefix}{inner}a.png,cat\n{prefix}{inner}b.png,dog\n"
    source = of(folder, text)
    assert [p.removeprefix("../data/") for p in paths(source)] == ["train/a.png", "train/b.png"]
    assert len(source.notices) == (prefix != "../data/")


def test_a_manifest_in_a_folder_of_annotations_is_of_images_beside_it(tmp_path: Path) -> None:
    files(tmp_path, "train2017/a.png", "train2017/b.png", "val2017/c.png", "annotations/x")
    source = of_json(tmp_path / "annotations", coco((1, 5), (2, 7)))
    assert paths(source) == ["../train2017/a.png", "../train2017/b.png"]
    for other in ("other", "val2017"):
        files(tmp_path, f"{other}/x")
        assert paths(of_json(tmp_path / other, coco((1, 5), (2, 7)))) == ["a.png", "b.png"]


def test_names_without_extension_in_one_folder_are_found(tmp_path: Path) -> None:
    files(tmp_path, "train/a.jpg", "train/b.jpg", "test/c.jpg")
    source = of(tmp_path, "image_id,label\na,cat\nb,dog\n", "labels.csv")
    assert paths(source) == ["train/a.jpg", "train/b.jpg"]


@pytest.mark.parametrize("name", ["train.csv", "Train.csv", "train_labels.csv", "labels-train.csv"])
def test_a_manifest_is_of_the_folder_that_it_is_named_for(tmp_path: Path, name: str) -> None:
    files(tmp_path, "train/a.png", "train/b.png", "test/a.png", "test/b.png")
    source = of(tmp_path, "path,label\na,cat\nb,dog\n", name)
    assert paths(source) == ["train/a.png", "train/b.png"]
    assert any("'a' is read as train/a.png" in notice for notice in source.notices)


def test_names_that_two_folders_have_are_not_guessed(tmp_path: Path) -> None:
    files(tmp_path, "u/a.png", "v/a.png", "u/b.png")
    source = of(tmp_path, "path,label\na.png,cat\nb.png,dog\n")
    assert paths(source) == ["a.png", "b.png"]
    assert "there are u/a.png and v/a.png" in hint(source)


# --- A manifest for each split


def of_splits(root: Path, *names: str, text: str = TABLE) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        files((root / name).parent, "a.png", "b.png")


@pytest.mark.parametrize("name", ["_classes.csv", "metadata.csv", "labels.txt.csv"])
def test_a_manifest_in_the_folder_of_each_split(tmp_path: Path, name: str) -> None:
    of_splits(tmp_path, f"train/{name}", f"valid/{name}", f"test/{name}")
    assert rows(listed(tmp_path)) == [
        (f"{folder}/{file}", label, split)
        for folder, split in (("test", "test"), ("train", "train"), ("valid", "val"))
        for file, label, _ in TWO
    ]


def test_a_manifest_of_each_split_beside_the_others(tmp_path: Path) -> None:
    of_splits(tmp_path, "train.csv")
    of_splits(tmp_path, "val.csv", text="path,label,site\nc.png,cat,north\n")
    files(tmp_path, "c.png")
    source = listed(tmp_path)
    assert rows(source) == [*((f, x, "train") for f, x, _ in TWO), ("c.png", "cat", "val")]
    assert source.extra_columns == ("site",)
    assert [r.extra for r in source.records] == [(("site", s),) for s in ("", "", "north")]


def test_a_split_that_no_manifest_tells_of_is_named(tmp_path: Path) -> None:
    of_splits(tmp_path, "train/labels.csv", "valid/labels.csv")
    files(tmp_path, "test/a.png")
    with pytest.raises(
        DataError, match=r'no manifest says so of test/; .*ignore = \["test/\*\*"\]'
    ):
        listed(tmp_path)
    source = listed(tmp_path, ignore=("test/**",))
    assert {r.split for r in source.records} == {"train", "val"}


def test_manifests_of_splits_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    of_splits(tmp_path, "train/m.csv", text="path,label,split\na.png,cat,train\nb.png,dog,test\n")
    of_splits(tmp_path, "val/m.csv")
    with pytest.raises(DataError, match=r"its name says train, .*says test of b\.png"):
        listed(tmp_path)


def test_manifests_of_splits_without_train_are_refused(tmp_path: Path) -> None:
    of_splits(tmp_path, "test/m.csv", "val/m.csv")
    with pytest.raises(DataError, match="none is of train"):
        listed(tmp_path)


def test_class_folders_win_over_manifests_of_splits_that_agree(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "val/dog/d.png")
    (tmp_path / "train.csv").write_text("path,label\ntrain/cat/a.png,cat\ntrain/dog/b.png,dog\n")
    (tmp_path / "val.csv").write_text("path,label\nval/cat/c.png,cat\nval/dog/d.png,dog\n")
    assert listed(tmp_path).kind == "folder"


# --- JSON


def test_an_array_of_objects_is_a_manifest(folder: Path) -> None:
    data = [{"path": "a.png", "label": "cat", "n": 1}, {"path": "b.png", "label": "dog"}]
    source = of_json(folder, data)
    assert rows(source) == TWO and source.extra_columns == ("n",)
    assert rows(of(folder, "\n".join(map(json.dumps, data)), "m.json")) == TWO
    (folder / "labels").write_text(json.dumps(data, indent=2))
    assert rows(listed(folder / "labels", format="manifest")) == TWO


@pytest.mark.parametrize("name", ["m.CSV", "m.tsv", "m.txt", "m.psv"])
def test_a_table_is_one_whatever_it_is_called(folder: Path, name: str) -> None:
    assert rows(of(folder, TABLE.replace(",", "|"), name)) == TWO


def test_an_excel_workbook_gets_the_remedy(folder: Path) -> None:
    with pytest.raises(DataError, match="an Excel workbook; save it as CSV in UTF-8"):
        of(folder, b"PK\x03\x04...", "m.xlsx")


@pytest.mark.parametrize(
    "data", [{"a.png": "cat", "b.png": "dog"}, {"cat": ["a.png"], "dog": ["./b.png"]}]
)
def test_an_object_of_paths_and_labels_is_a_manifest(folder: Path, data: object) -> None:
    assert rows(of_json(folder, data)) == TWO
    (folder / "images").mkdir()
    assert listed(folder).kind == "manifest"


def test_a_key_that_is_there_twice_is_refused(folder: Path) -> None:
    for text in (
        '{"a.png": "cat", "b.png": "dog", "a.png": "dog"}',
        '[{"path": "a.png", "label": "dog", "label": "cat"}]',
    ):
        with pytest.raises(DataError, match="there twice, as"):
            of(folder, text, "m.json")


def test_a_zero_character_in_a_path_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="item 1: expected the path of a file"):
        of_json(folder, [{"path": "a\0/b.png", "label": "cat"}])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"0": "cat", "1": "dog"}, "an object with '0', '1'"),
        ({"a.png": 1, "b.png": {}}, "expected an array of objects"),
        ({"path": {"0": "a.png"}, "label": {"0": "cat"}}, "orient='records'"),
        ([["a.png", "cat"]], "item 1: expected an object"),
        ([{"path": "a.png"}], "expected the columns path and label"),
        ("text", "expected an array of objects"),
    ],
)
def test_other_json_is_refused(folder: Path, data: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        of_json(folder, data)
    with pytest.raises(DataError, match="not valid JSON"):
        of(folder, "[{", "m.json")


def test_json_beside_class_folders_is_no_manifest_unless_it_names_images(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/a.png", "train/dog/b.png")
    (tmp_path / "info.json").write_text('{"version": 1}')
    assert listed(tmp_path).kind == "folder"
    of_json(tmp_path, [{"path": f"train/{c}", "label": c[:3]} for c in ("cat/a.png", "dog/b.png")])
    assert listed(tmp_path).kind == "manifest"


def coco(*annotations: tuple[int, int], **more: object) -> dict[str, object]:
    """Makes COCO's annotations of images 1 (a.png) and 2 (b.png): (image, category) each."""
    return {
        "info": {},
        "images": [
            {"id": 1, "file_name": "a.png", "width": 1},
            {"id": 2, "file_name": "b.png", "width": 1},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 7, "name": "dog", "supercategory": "x"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": [0, 0, 1, 1]}
            for n, (i, c) in enumerate(annotations)
        ],
        **more,
    }


def test_coco_annotations_of_one_category_each_are_labels(folder: Path) -> None:
    source = of_json(folder, coco((1, 5), (1, 5), (2, 7)))
    assert rows(source) == TWO and not source.quarantined and source.extra_columns == ()
    assert listed(folder).kind == "manifest"  # by what it holds


def test_coco_images_without_one_category_are_quarantined_with_counts(folder: Path) -> None:
    third = {"id": 3, "file_name": "c.png"}
    fourth = {"id": 4, "file_name": "d.png"}
    data = coco((1, 5), (2, 7), (3, 5), (3, 7))
    source = of_json(folder, data | {"images": [*data["images"], third, fourth]})
    assert rows(source) == TWO
    assert [(q.path, q.reason, q.detail) for q in source.quarantined] == [
        (b"c.png", "several-labels", "cat, dog"),
        (b"d.png", "no-label", ""),
    ]
    assert "of 4 images 1 have no category and 1 several" in source.notices[0]
    with pytest.raises(DataError, match=r"of 2 images 2 have no category .* give them one"):
        of_json(folder, coco())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (coco((1, 9)), "annotation 1: category_id 9 is not among the categories"),
        (coco((1, 5), (8, 5)), "annotation 2: image_id 8 is not among the images"),
        (coco(categories=None), "expected categories as COCO has them"),
        (coco(images=[{"id": 1}]), "image 1: expected 'file_name' as COCO has it, got None"),
        (coco(images=[{"id": 1, "file_name": "a.png"}] * 2), "image 2: the id 1 is that of an"),
        (coco(annotations=[{"image_id": 1, "caption": "x"}]), "annotation 1: expected 'category_"),
    ],
)
def test_coco_that_does_not_fit_together_is_refused(folder: Path, data: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        of_json(folder, data)


def task(image: str, *choices: str, kind: str = "choices", control: str = "choice") -> dict:
    result = [{"type": kind, "from_name": control, "to_name": "image", "value": {kind: [*choices]}}]
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [{"id": 2, "was_cancelled": False, "result": result if choices else []}],
        "predictions": [],
    }


@pytest.mark.parametrize(
    "image",
    [
        "a.png",
        "/data/local-files/?d=a.png",
        "/data/local-files/?d=pets/a.png",
        "/data/upload/12/a.png",
        "/data/upload/12/0a1b2c3d-a.png",
        "/data/upload/a.png",
    ],
)
def test_label_studio_s_choices_are_labels(tmp_path: Path, image: str) -> None:
    folder = tmp_path / "pets"
    files(folder, "a.png", "b.png")
    tasks = [task(image, "cat"), task(image.replace("a.png", "b.png"), "dog")]
    assert rows(of_json(folder, tasks)) == TWO
    least = [
        {"image": t["data"]["image"], "id": n, "choice": label, "annotator": 1}
        | {"annotation_id": n, "created_at": "x", "updated_at": "x", "lead_time": 0.5}
        for n, (t, label) in enumerate(zip(tasks, ("cat", "dog"), strict=True))
    ]
    source = of_json(folder, least)
    assert rows(source) == TWO and source.extra_columns == ()
    named = [{"animal" if k == "choice" else k: v for k, v in row.items()} for row in least]
    assert rows(of_json(folder, named)) == TWO


def test_label_studio_s_tasks_without_one_choice_are_quarantined(folder: Path) -> None:
    disagreed = task("d.png", "cat")
    disagreed["annotations"].append(task("d.png", "dog")["annotations"][0])
    skipped = task("e.png", "dog")
    skipped["annotations"][0]["was_cancelled"] = True
    tasks = [task("a.png", "cat"), task("b.png", "dog"), task("c.png"), disagreed, skipped]
    source = of_json(folder, tasks)
    assert rows(source) == TWO
    assert [q.reason for q in source.quarantined] == ["no-label", "several-labels", "no-label"]
    assert "of 5 images 2 have no choice and 1 several" in source.notices[0]


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([task("a.png", "cat", kind="rectanglelabels")], "type choices, got rectanglelabels"),
        ([task("http://x/a.png", "cat"), task("b.png", "dog")], "task 1: .*the URL.*download"),
        ([task("a.png", "cat"), {"id": 3}], "task 2: expected a task as Label Studio exports it"),
        ([{**task("a.png", "c"), "data": {"u": "1", "v": "2"}}], "expected an image in the data"),
    ],
)
def test_label_studio_s_other_tasks_are_refused(folder: Path, tasks: list, told: str) -> None:
    with pytest.raises(DataError, match=told):
        of_json(folder, tasks)


def test_two_controls_of_label_studio_could_each_be_the_label(folder: Path) -> None:
    both = task("a.png", "cat")
    both["annotations"][0]["result"] += task("a.png", "x", control="pose")["annotations"][0][
        "result"
    ]
    with pytest.raises(DataError, match="task 1: 'choice' and 'pose' could each be the label"):
        of_json(folder, [both])


# --- Whatever is written


WORDS = st.sampled_from(
    [
        "a.png",
        "b.png",
        "cat",
        "1.0",
        "",
        " ",
        "\x00",
        "\ud800",
        "..",
        "/",
        "\\",
        "%00",
        "file:///%zz",
    ]
)
KEYS = "path label id name image_id category_id file_name data result type value choices"
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(0, 3) | st.floats(),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS.split()), inside, max_size=4)
    ),
    max_leaves=8,
)


def changed(data: object, draw: st.DataObject) -> object:
    """Puts any value in the place of something within an export."""
    if not isinstance(data, dict | list) or not data or draw.draw(st.integers(0, 4)) == 0:
        return draw.draw(VALUES)
    items = list(data.items() if isinstance(data, dict) else enumerate(data))
    key, value = draw.draw(st.sampled_from(items))
    copy = data.copy()
    copy[key] = changed(value, draw)  # type: ignore[index]
    return copy


def answered(folder: Path, name: str, text: str) -> None:
    """Expects a manifest to be read, or refused in words."""
    try:
        of(folder, text.encode("utf-8", "surrogatepass"), name)
    except DataError as e:
        assert str(e).startswith(str(folder))


@EXAMPLES
@given(st.data())
def test_no_json_whatever_ends_in_anything_but_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("json")
    least = {"id": 1, "image": "a.png", "choice": "cat", "annotator": 1, "annotation_id": 1}
    plain = [{"path": "a.png", "label": "cat"}, {"path": "b.png", "label": "dog"}]
    written: tuple[object, ...] = (coco((1, 5)), [task("a.png", "cat")], [least], plain, {"a": "b"})
    for export in written:
        any_ = changed(export, data)
        answered(folder, "m.json", json.dumps(any_))
        answered(folder, "m.jsonl", json.dumps(any_) + "\n" + json.dumps(any_))


@EXAMPLES
@given(st.text("a,;|\t\"' \r\n\x00\\%/.=1\xa0", max_size=60), st.sampled_from(",;|\t"))
def test_no_table_whatever_ends_in_anything_but_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, delimiter: str
) -> None:
    folder = tmp_path_factory.mktemp("table")
    answered(folder, "m.csv", text)
    answered(folder, "m.csv", f"path{delimiter}label\n{text}")
