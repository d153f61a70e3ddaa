"""common.config.strict: what may be written in a config, and what is said of the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from common.config.strict import dump, parse
from common.errors import ConfigError, MissingKeyError
from trainers.config import AugmentConfig, TrainConfig

pytestmark = pytest.mark.quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    width: int = 1

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ConfigError(f"width: expected 0 or more, got {self.width}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    rate: float = 0.5
    size: int | tuple[int, int] = 8
    mode: Literal["fast", "exact"] = "fast"
    note: str | None = None
    flag: bool = False
    weights: Literal["none"] | dict[str, float] = "none"
    tags: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)
    extra: dict[str, Any] = field(default_factory=dict)


whole = st.integers(1 - 2**63, 2**63 - 1)
leaves = st.none() | st.booleans() | whole | st.floats(allow_nan=False) | st.text()
extras = st.recursive(leaves, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=5)
outers = st.builds(
    Outer,
    name=st.text(),
    rate=st.floats(allow_nan=False),
    size=whole | st.tuples(whole, whole),
    mode=st.sampled_from(["fast", "exact"]),
    note=st.none() | st.text(),
    flag=st.booleans(),
    weights=st.just("none") | st.dictionaries(st.text(), st.floats(allow_nan=False)),
    tags=st.lists(st.text()).map(tuple),
    inner=st.builds(Inner, width=st.integers(0)),
    extra=st.dictionaries(st.text(), extras),
)


@EXAMPLES
@given(outers)
def test_what_is_dumped_as_json_is_read_back(config):
    assert parse(Outer, json.loads(json.dumps(dump(config)))) == config


def test_a_training_config_is_read_back():
    config = TrainConfig(
        framework="keras",
        model="small_cnn",
        model_args={"depth": [1, 2]},
        class_weights={"cat": 2.0},
        augment=AugmentConfig(rotation=10.0),
    )
    assert parse(TrainConfig, json.loads(json.dumps(dump(config)))) == config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "a", "rte": 1}, "Unknown config key top.rte. Did you mean 'rate'?"),
        (
            {"name": "a", "inner": {"with": 1}},
            "Unknown config key top.inner.with. Did you mean 'width'?",
        ),
        ({"name": "a", "inner": {"zzz": 1}}, "Unknown config key top.inner.zzz. Known: width."),
        ({"name": 3}, "top.name: expected str, got 3."),
        ({"name": None}, "top.name: expected str, got None."),
        ({"name": "a", "rate": "x"}, "top.rate: expected float, got 'x'."),
        ({"name": "a", "rate": True}, "top.rate: expected float, got True."),
        ({"name": "a", "size": True}, "top.size: expected int, got True."),
        ({"name": "a", "size": 1.5}, "top.size: expected int, got 1.5."),
        ({"name": "a", "size": [1, 2, 3]}, "top.size: expected 2 values, got [1, 2, 3]."),
        ({"name": "a", "size": [1, "x"]}, "top.size[1]: expected int, got 'x'."),
        ({"name": "a", "flag": 1}, "top.flag: expected bool, got 1."),
        (
            {"name": "a", "mode": "fsat"},
            "top.mode: expected one of 'fast', 'exact', got 'fsat'. Did you mean 'fast'?",
        ),
        ({"name": "a", "mode": ["fast"]}, "top.mode: expected one of 'fast', 'exact', got ['fast'"),
        ({"name": "a", "note": 3}, "top.note: expected str, got 3."),
        ({"name": "a", "weights": {"cat": "x"}}, "top.weights.cat: expected float, got 'x'."),
        ({"name": "a", "weights": "nun"}, "top.weights: expected one of 'none', got 'nun'."),
        ({"name": "a", "tags": "x"}, "top.tags: expected a list, got 'x'."),
        ({"name": "a", "tags": ["x", 3]}, "top.tags[1]: expected str, got 3."),
        ({"name": "a", "inner": 3}, "top.inner: expected a table, got 3."),
        ({"name": "a", "extra": 3}, "top.extra: expected a table, got 3."),
        ({"name": "a", "inner": {"width": -1}}, "top.inner.width: expected 0 or more, got -1."),
        ({}, "Missing config key top.name."),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(data, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse(Outer, data, "top.")


def test_a_missing_key_is_told_from_a_wrong_one():
    with pytest.raises(MissingKeyError):
        parse(Outer, {"rate": 1})
    with pytest.raises(ConfigError) as e:
        parse(Outer, {"nmae": "a"})
    assert not isinstance(e.value, MissingKeyError)


def test_what_is_no_table_is_refused():
    with pytest.raises(ConfigError, match=re.escape("the config: expected a table, got [1].")):
        parse(Outer, [1])


def test_whole_numbers_are_taken_for_decimals():
    rate = parse(Outer, {"name": "a", "rate": 2}).rate
    assert rate == 2.0 and isinstance(rate, float)


@EXAMPLES
@given(st.recursive(leaves, lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_no_value_whatever_ends_in_anything_but_a_config_error(value):
    for key in ("name", "rate", "size", "mode", "note", "flag", "weights", "tags", "inner"):
        try:
            config = parse(Outer, {"name": "a", key: value})
        except ConfigError:
            continue
        assert parse(Outer, dump(config)) == config or value != value  # noqa: PLR0124
