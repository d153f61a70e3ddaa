"""What reaches a container whole: texts that others would expand, cut or read otherwise."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from kubeflow_config import GOLDEN, config
from ruamel.yaml import YAML

from common.errors import ConfigError
from common.yaml_text import to_yaml
from pipeline.kubeflow.compiler.compile import compile_pipeline, write_package
from pipeline.kubeflow.compiler.lengths import check_lengths, length
from pipeline.kubeflow.local.launcher import expanded
from pipeline.kubeflow.parts import input_name, joined, parts_of, text_of
from pipeline.kubeflow.settings import prepare
from pipeline.kubeflow.spec import read_package
from pipeline.kubeflow.step import CONFIG, SCHEMA_TEXT
from pipeline.kubeflow.task.io import TaskIO
from pipeline.kubeflow.words import LONGEST, packed, unpacked

ODD = (
    *(
        "1e3",
        "12e4",
        "0o17",
        "017",
        "0x1f",
        "1_000",
        "12:30:45",
        "1.5",
        "+1",
        ".5",
        ".inf",
        "-.INF",
    ),
    *("yes", "No", "on", "OFF", "y", "true", "null", "~", "", " a", "a ", "a: b", "#a", "- a"),
    *(
        "é",
        "\u2028",
        "\x85",
        "a\nb",
        "'",
        '"',
        "\\",
        "<<",
        "=",
        "2026-11-30",
        "&a",
        "*a",
        "!a",
        "%a",
    ),
)
"""What YAML 1.1 and 1.2, or people, read differently."""


@EXAMPLES
@given(st.text() | st.sampled_from(("$$a", "$(HOME)", "{{workflow.name}}", "x" * 5000)))
def test_a_text_arrives_as_it_was_sent(text):
    word = packed(text)
    assert unpacked(word) == text
    assert unpacked(expanded(word, "run")) == text
    assert unpacked(packed(word)) == word, "what looks packed is a text too"


@EXAMPLES
@given(st.integers(0, 400_000), st.integers(0, 9))
def test_parts_make_the_whole(size, seed):
    text = random.Random(seed).randbytes(size // 2).hex()
    parts = parts_of(text)
    assert all(length(packed(part)) < LONGEST for part in parts)
    if parts:
        place = {input_name("key", n): part for n, part in enumerate(parts)}
        assert unpacked("".join(place[k] for k in sorted(place))) == text
    else:
        assert length(packed(text)) <= LONGEST


def test_parts_are_read_from_the_files_of_their_tasks(tmp_path):
    text = random.Random(1).randbytes(300_000).hex()
    files = {}
    for number, part in enumerate(parts_of(text)):
        files[input_name("key", number)] = tmp_path / str(number)
        (tmp_path / str(number)).write_text(part)
    assert joined({**files, "other": tmp_path}) == {"key": text}


@pytest.mark.parametrize("cut", [slice(None, -3), slice(0, 17), slice(0, 40)])
def test_what_was_cut_is_refused(cut):
    with pytest.raises(ConfigError, match="cannot be unpacked"):
        unpacked(packed("$" * 3000)[cut] + "!")


def read_as_1_2(text: str) -> list[Any]:
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 2)
    return list(reader.load_all(io.StringIO(text)))


@pytest.mark.parametrize("text", ODD)
def test_yaml_1_1_and_1_2_read_the_same_text(text):
    document = {"value": text, "list": [text, 1, 0.001, True], f"k{text}": {"deep": text}}
    written = to_yaml([document])
    assert read_as_1_2(written) == [document]
    assert list(yaml.safe_load_all(written)) == [document]


@EXAMPLES
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_any_text_is_read_alike(text):
    written = to_yaml([{"value": text, text: [text]}])
    assert (
        read_as_1_2(written) == list(yaml.safe_load_all(written)) == [{"value": text, text: [text]}]
    )


def test_every_spec_is_read_alike(tmp_path):
    odd = config(
        name="1e3",
        kubeflow__node_selector={"disk": "12e4", "0o17": "0o17"},
        kubeflow__volumes=[{"claim": "12e4", "mount": "/mnt/visionline"}],
        kubeflow__pod={"labels": {"a": "1e3"}, "env": {"A": "012", "B": "yes", "C": "1:20"}},
    )
    write_package(odd, tmp_path / "odd.yaml")
    for path in (GOLDEN, tmp_path / "odd.yaml"):
        text = path.read_text()
        assert read_as_1_2(text) == list(yaml.safe_load_all(text))
    spec, platform = read_as_1_2((tmp_path / "odd.yaml").read_text())
    assert spec["pipelineInfo"]["name"] == "1e3"
    asked = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-trainer"]
    assert asked["pvcMount"][0]["constant"] == "12e4"
    assert asked["nodeSelector"]["labels"] == {"disk": "12e4", "0o17": "0o17", "gpu": "a100"}


def words_of(spec: dict[str, Any]) -> list[str]:
    """All that a spec hands on: its texts, and each part that is one word."""
    parts = [json.dumps(task) for task in spec["root"]["dag"]["tasks"].values()]
    parts += [json.dumps(e["container"]) for e in spec["deploymentSpec"]["executors"].values()]
    return parts + [json.dumps(component) for component in spec["components"].values()]


@pytest.mark.parametrize(
    "changes",
    [
        {"data__path": "/mnt/visionline/$$a/{{workflow.name}}/$(HOME)"},
        {"push__destination": "/mnt/visionline/{{workflow.name}}$$b"},
        {"train__pretrained": None, "data__split_column": "{{inputs.parameters.x}}$$"},
    ],
    ids=["data", "push", "column"],
)
def test_nothing_in_a_spec_is_there_to_be_expanded(changes):
    changes = {k: v for k, v in changes.items() if v is not None}
    if "data__split_column" in changes:
        changes = {"name": "digits", "evaluate__slices": ["{{inputs.parameters.x}}$$"]}
    spec, _ = compile_pipeline(config(**changes))
    for word in words_of(spec):
        word = word.replace("{{$}}", "")
        assert "{{" not in word and "$" not in word


def test_ten_thousand_classes_are_short_words(tmp_path):
    source = random.Random(1)
    names = sorted(source.randbytes(12).hex() for _ in range(10_000))
    schema = tmp_path / "schema.pbtxt"
    values = "".join(f'  value: "{name}"\n' for name in names)
    schema.write_text(f'string_domain {{\n  name: "label"\n{values}}}\n')
    asked = config(schema={"frozen": str(schema)}, evaluate__slices=[f"s{i}" for i in range(1000)])
    write_package(asked, tmp_path / "pipeline.yaml")
    spec = read_package(tmp_path / "pipeline.yaml").spec
    assert max(len(word) for word in words_of(spec)) < LONGEST
    assert text_of(spec, "schema-gen", SCHEMA_TEXT) == schema.read_text()
    tasks = spec["root"]["dag"]["tasks"]
    parts = [n for n in tasks if n.startswith("schema-gen-schema-text-")]
    assert set(parts) <= set(tasks["schema-gen"]["dependentTasks"]) and len(parts) > 1


def test_what_is_too_long_in_sum_is_refused_with_the_key(monkeypatch):
    spec, _ = compile_pipeline(config())
    task = spec["root"]["dag"]["tasks"]["evaluator"]
    for key in ("evaluate", "task"):
        task["inputs"]["parameters"][key]["runtimeValue"]["constant"] = "x" * 60_000
    task["inputs"]["parameters"]["evaluate"]["runtimeValue"]["constant"] += "x"
    with pytest.raises(ConfigError, match=r"evaluate.slices: the task evaluator would be handed"):
        check_lengths(spec)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    schema = path.with_name("schema.pbtxt")
    schema.write_text('feature { name: "label" type: BYTES }\n')
    write_package(config(schema={"frozen": str(schema)}), path)
    schema.unlink()
    return path


def test_parameters_of_a_run_leave_the_package_as_it_is(package, tmp_path):
    asked = {"epochs": 7, "train.seed": 5, "data.path": "/mnt/$$a"}
    path, parameters, _ = prepare(package, asked, tmp_path)
    assert path == package
    assert parameters == {"epochs": 7, "seed": 5, "data_path": packed("/mnt/$$a")}


def test_any_other_key_compiles_it_anew(package, tmp_path):
    asked = {"train.batch_size": 7, "transform.image_size": 24, "train.epochs": 9}
    path, parameters, _ = prepare(package, asked, tmp_path)
    assert path != package and parameters == {"epochs": 9}
    old, new = read_package(package).spec, read_package(path).spec
    recorded = json.loads(text_of(new, "pusher", CONFIG))
    before = json.loads(text_of(old, "pusher", CONFIG))
    assert recorded["train"]["batch_size"] == 7 and recorded["transform"]["image_size"] == 24
    assert recorded["schema"]["frozen"] == before["schema"]["frozen"]
    assert text_of(new, "schema-gen", SCHEMA_TEXT) == text_of(old, "schema-gen", SCHEMA_TEXT)
    changed = {
        name
        for name, task in new["root"]["dag"]["tasks"].items()
        if task != old["root"]["dag"]["tasks"][name]
    }
    assert "image-example-gen" not in changed and {"transform", "array-gen", "pusher"} <= changed


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"train.batch_sise": 3}, "Did you mean 'batch_size'"),
        ({"train.batch_size": -3}, "batch_size: expected"),
        ({"epocs": 3}, "no parameter 'epocs'"),
        ({"train.epochs": "x"}, "epochs: expected NUMBER_INTEGER"),
        ({"kubeflow.volumes": []}, "data.path: expected a path on a volume"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(package, tmp_path, given_, message):
    with pytest.raises(ConfigError, match=message):
        prepare(package, given_, tmp_path)


def test_another_release_s_package_keeps_its_keys(package, tmp_path):
    other = tmp_path / "other.yaml"
    text = package.read_text()
    other.write_text(text.replace("sdkVersion: visionline-", "sdkVersion: visionline-9"))
    assert other.read_text() != text
    with pytest.raises(ConfigError, match="was compiled by visionline 9"):
        prepare(other, {"train.batch_size": 3}, tmp_path)


def test_a_task_gets_its_texts_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONLINE_MOUNTS", str(tmp_path))
    text = random.Random(2).randbytes(200_000).hex()
    artifacts = {}
    for number, part in enumerate(parts_of(text)):
        (tmp_path / "s3" / "b").mkdir(parents=True, exist_ok=True)
        (tmp_path / "s3" / "b" / str(number)).write_text(part)
        uri = f"s3://b/{number}"
        artifacts[input_name("long", number)] = {"artifacts": [{"name": "1", "uri": uri}]}
    handed = {"inputs": {"parameterValues": {"a": packed("$$")}, "artifacts": artifacts}}
    io = TaskIO.parse(json.dumps(handed))
    assert io.parameters == {"a": "$$", "long": text} and io.inputs == {}
