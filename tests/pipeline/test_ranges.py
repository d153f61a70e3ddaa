"""Every number that a config has: its range is declared, and holds however the config is made."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
from helpers import EXAMPLES, ROOT
from hypothesis import given
from hypothesis import strategies as st

from common.config.ranges import By, Rule, at_least, between, more_than, one_of
from common.config.strict import Checked, hints_of, parse
from common.config.toml_file import read, settings
from common.errors import ConfigError
from pipeline.config import PipelineConfig, load_config
from pipeline.deploy.config import DeployConfig
from serving.config import ServeConfig

RUN = {
    "data": {"path": "x"},
    "train": {"framework": "pytorch", "model": "small_cnn"},
    "evaluate": {"min_accuracy": 0.5},
}
REQUIRED: dict[str, dict[str, Any]] = {
    "PipelineConfig": {"name": "x", **RUN},
    "DataConfig": RUN["data"],
    "TrainConfig": RUN["train"],
    "EvaluateConfig": RUN["evaluate"],
    "DeployConfig": {"storage": "pvc://models", "image": "a:1"},
    "ServeConfig": {"serving": "x"},
    "TlsConfig": {"certificate": "x", "key": "x"},
    "RequestLogConfig": {"folder": "x"},
    "AffinityConfig": {"key": "x", "values": ["x"]},
    "Toleration": {"key": "x", "effect": "NoExecute"},
    "VolumeConfig": {"claim": "x", "mount": "/x"},
}
"""What each must be told."""
ODD = [math.nan, math.inf, -math.inf, 10**400, int("9" * 4000), -(10**400), 2**63]
ODD += [1e308, 5e-324, -1, 0, True, False]


def parts(hint: Any, rules: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The plain types that a field's type is made of, each with the rules about it."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        yield from parts(args[0], (*rules, *args[1:]))
    elif args and typing.get_origin(hint) is not typing.Literal:
        for each in args:
            yield from parts(each, rules)
    else:
        yield hint, rules


def configs(root: type, seen: set[type]) -> set[type]:
    """A config and all that it holds."""
    if root not in seen:
        seen.add(root)
        for hint in hints_of(root).values():
            for part, _ in parts(hint):
                if dataclasses.is_dataclass(part):
                    configs(part, seen)
    return seen


seen: set[type] = set()
for kind in (PipelineConfig, DeployConfig, ServeConfig):
    configs(kind, seen)
CONFIGS = sorted(seen, key=lambda cls: cls.__name__)
NUMBERS = [
    pytest.param(cls, name, id=f"{cls.__name__}.{name}")
    for cls in CONFIGS
    for name, hint in hints_of(cls).items()
    if any(part in (int, float) for part, _ in parts(hint))
]


def test_there_is_one_of_each_name_and_all_are_checked() -> None:
    names = [cls.__name__ for cls in CONFIGS]
    assert len(names) == len(set(names)) > 20 and len(NUMBERS) > 60
    assert [cls for cls in CONFIGS if not issubclass(cls, Checked)] == []


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_every_number_has_a_range(cls: type, name: str) -> None:
    for part, rules in parts(hints_of(cls)[name]):
        if part in (int, float):
            assert [r for r in rules if isinstance(r, Rule | By)], "declare what it may be"


def stored(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from stored(each)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.parametrize(("cls", "name"), NUMBERS)
def test_odd_numbers_are_taken_or_refused_and_never_more(cls: type, name: str) -> None:
    needed = REQUIRED.get(cls.__name__, {})
    made = {f: getattr(parse(cls, needed), f) for f in needed}
    taken = 0
    for number in ODD:
        for value in (number, (number,), (number, number), {"train": number, "val": 0.5}):
            for make in (
                lambda v: parse(cls, {**needed, name: v}, "x."),
                lambda v: cls(**{**made, name: v}),
            ):
                try:
                    config = make(value)
                except ConfigError as e:
                    assert name in str(e) and len(str(e)) < 600
                else:
                    taken += 1
                    assert all(math.isfinite(n) for n in stored(getattr(config, name)))
    assert taken < 8 * len(ODD)


@pytest.mark.parametrize(
    "rule",
    [
        *(at_least(1), at_least(0, below=1), more_than(0), more_than(0, at_most=1)),
        *(more_than(0, below=1), between(0, 0.5), one_of((1, 2, 4))),
    ],
    ids=lambda rule: rule.expected,
)
def test_a_range_is_the_same_in_json_schema(rule: Rule) -> None:
    schema = jsonschema.Draft202012Validator(rule.schema)

    @EXAMPLES
    @given(st.integers(-3, 5) | st.floats(-1, 2) | st.sampled_from([-0.0, 0.5, 1.0]))
    def same(value: float) -> None:
        assert schema.is_valid(value) == rule.holds(value)

    same()
    assert not rule.holds(math.nan) and not rule.holds(math.inf)


def test_the_schema_of_the_files_takes_what_the_parser_takes() -> None:
    schema = json.loads((ROOT / "docs" / "config.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(RUN)
    assert validator.is_valid({"deploy": {"storage": "pvc://models", "min_replicas": 2}})
    assert validator.is_valid({"serving": "x", "limits": {"images": 2}, "default": {"policy": [1]}})
    for wrong in (
        {"train": {"epochs": 0}},
        {"train": {"class_weights": {"a": -1}}},
        {"transform": {"image_size": [32, 4096]}},
        {"data": {"splits": {"tain": 0.5}}},
        {"deploy": {"canary_percent": 101}},
        {"limits": {"concurrency": 0}},
        {"name": "../cats"},
        {"nme": "cats"},
    ):
        assert not validator.is_valid(wrong), wrong


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train.learning_rate=1e400", "train.learning_rate: expected more than 0, got inf."),
        ("train.learning_rate=nan", "train.learning_rate: expected more than 0, got nan."),
        (f"train.learning_rate=1{'0' * 400}", "train.learning_rate: expected float, got 1000"),
        (f"train.epochs=1{'0' * 400}", "train.epochs: expected an integer of at most 63 bits"),
        (f"train.epochs={'9' * 5000}", "--set: train.epochs: expected a value that can be read"),
        (f"train.model_args.x={'9' * 5000}", "an integer has too many digits."),
        (f"train.model_args.x=1{'0' * 30}", "train.model_args.x: expected an integer of at"),
        (f"train.model_args.x={'[' * 5000}", "lists and tables are nested too deeply."),
        (f"train.model_args.x={'[' * 40}{']' * 40}", "at most 32 deep"),
        (f"train.model_args.{'.'.join('a' * 5000)}=1", "at most 32 deep"),
        ("train.model_args.x=2020-01-01", "expected texts, numbers, lists and tables"),
        ("transform.image_size=[32, 1e400]", "transform.image_size[1]: expected int, got inf."),
    ],
    ids=lambda text: text[:40],
)
def test_a_setting_that_nobody_can_mean_is_an_error_for_people(text: str, told: str) -> None:
    flags = {f"{table}.{k}": v for table, keys in RUN.items() for k, v in keys.items()}
    with pytest.raises(ConfigError) as refused:
        load_config(None, {**flags, **settings([text])})
    assert told in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.parametrize("name", ["x.toml", "x.json"])
@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, '{"a":' * 5000])
def test_a_file_that_no_parser_reads_is_an_error_for_people(
    name: str, value: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(f"a = {value}" if name == "x.toml" else f'{{"a": {value}}}')
    with pytest.raises(ConfigError, match="is not valid"):
        read(path)
