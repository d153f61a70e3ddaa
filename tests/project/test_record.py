"""What is written to ML Metadata is named in common/record, and nowhere else."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

import pytest
from helpers import ROOT, python

from common.record import artifacts, kinds, run, steps
from common.record.record import Record, names_of, value_of

RECORDS = [
    cls
    for module in (run, steps, artifacts)
    for _, cls in inspect.getmembers(module, inspect.isclass)
    if issubclass(cls, Record) and cls.__module__ == module.__name__
]
NAMES = set(names_of(*RECORDS))
KINDS = {value for key, value in vars(kinds).items() if key.isupper()} - {"pipeline", "node"}
ELSEWHERE = {
    # of the config, and of a component's parameters
    *("image_size", "code_digest", "work_dir", "serving_dir", "serving_name"),
    *("eval_config", "baseline_model"),
    # of model.json, report.json, evaluation.json, infra_validation.json and summary.json
    *("dataset_digest", "extra_columns", "parameter_count", "peak_memory_bytes"),
    *("val_loss", "val_accuracy", "images_per_second", "train_seconds", "loading_seconds"),
    *("baseline_accuracy", "withdrawn_by", "run_id"),
    # of facts that are compared
    *("top_k_accuracy", "expected_calibration_error", "epochs_run", "best_epoch"),
}
"""Properties with an underscore that other files and tables have keys of the same name for."""
TYPED = ("string", "int", "float", "json_value")
NAMING = {
    *("get", "values", "artifact_values", "artifacts_by_type", "latest_contexts", "annotate"),
    *(f"{verb}_{kind}_custom_property" for verb in ("get", "set") for kind in TYPED),
}
"""Functions that are given a property's name."""
HOLDING = {"custom_properties", "custom", "properties"}
TITLES = ("lineage/drawing/", "pipeline/ui/", "pipeline/cli/")
"""Where Model, Schema and Transform are words for people."""
TABLES = {"marker", "mlmd", "teacher"}
"""Tables that are asked for keys of the same names: of an output folder, a manifest, a config."""
SOURCES = sorted(
    path
    for package in ("components", "lineage", "pipeline")
    for path in (ROOT / package).rglob("*.py")
    if path != ROOT / "lineage" / "__init__.py"  # names the questions
)
"""The other packages know no store, see test_layering.py."""


def texts(node: ast.AST) -> Iterator[str]:
    return (
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    )


def named(tree: ast.AST, everywhere: bool) -> set[str]:
    """Properties that a module names by a literal.

    Args:
      everywhere: `get` is asked for properties of nodes here, and not for keys of tables.
    """
    found = {t for t in texts(tree) if "_" in t} - ELSEWHERE
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            if isinstance(node.value, ast.Attribute) and node.value.attr in HOLDING:
                found |= set(texts(node.slice))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            function, asked = node.func.attr, node.func.value
            holder = getattr(asked, "attr", getattr(asked, "id", None))
            of_node = holder in HOLDING or (everywhere and holder not in {None, *TABLES})
            if function in NAMING and (function != "get" or of_node):
                found |= {t for a in node.args for t in texts(a)} - ELSEWHERE
    return found & NAMES


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("x.custom_properties['state'].string_value", "state"),
        ("x.custom.get('user')", "user"),
        ("x.set_int_custom_property('blessed', 1)", "blessed"),
        ("reader.values('Execution', ids, ('accuracy',))", "accuracy"),
        ("reader.artifacts_by_type(EXAMPLES, {'span': 3})", "span"),
        ("run.get('config')", "config"),
        ("key = 'pushed_destination'", "pushed_destination"),
    ],
)
def test_a_name_is_seen(code: str, name: str) -> None:
    assert named(ast.parse(code), everywhere=True) == {name}


def test_no_property_is_named_by_a_literal() -> None:
    found = {}
    for path in SOURCES:
        of_store = path.is_relative_to(ROOT / "lineage")
        if names := named(ast.parse(path.read_text("utf-8")), of_store):
            found[path.relative_to(ROOT).as_posix()] = names
    assert found == {}


def test_what_is_exempt_is_a_property() -> None:
    assert ELSEWHERE <= NAMES


def test_no_component_or_type_is_named_by_a_literal() -> None:
    found = {}
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        words = set(texts(ast.parse(path.read_text("utf-8")))) & KINDS
        if words := words - (
            {"Model", "Schema", "Transform"} if place.startswith(TITLES) else set()
        ):
            found[place] = words
    assert found == {}


@pytest.mark.parametrize("cls", RECORDS, ids=lambda c: c.__name__)
def test_what_is_written_is_read_back(cls: type[Record]) -> None:
    examples = {"str": "a", "int": 2**40, "float": 0.5, "bool": False}
    examples |= {"tuple": ("a b", "c"), "list": [1, "b"], "dict": {"a": [1]}}
    kinds_of = {f: str(t).partition("[")[0].partition(" ")[0] for f, t in annotations(cls).items()}
    record = cls(**{field: examples[kind] for field, kind in kinds_of.items()})
    stored = record.properties()
    assert list(stored) == list(names_of(cls))
    assert {type(v) for v in stored.values()} <= {str, int, float}
    assert cls.read(stored) == record
    assert cls.read({}) == cls() and cls().properties() == {}


def annotations(cls: type) -> dict[str, str]:
    bases = [vars(base).get("__annotations__", {}) for base in reversed(cls.__mro__)]
    return {k: v for own in bases for k, v in own.items()}


@pytest.mark.parametrize("each", [None, "", "{", "[1]", 7, b"x"])
def test_what_is_no_table_is_not_recorded(each: object) -> None:
    assert value_of({"config": each}, run.Run.config) is None


def test_texts_are_stored_one_a_line() -> None:
    verdict = steps.Verdict(why_not_blessed=("a", "b"))
    assert verdict.properties() == {"why_not_blessed": "a\nb"}


def test_the_room_is_light() -> None:
    heavy = {"google.protobuf", "tfx", "ml_metadata", "numpy", "tensorflow"}
    code = "import sys, common.record.run, common.record.artifacts; "
    done = python("-c", f"{code}print(sorted(set(sys.modules) & {heavy!r}))")
    assert (done.stdout, done.stderr) == ("[]\n", "")
