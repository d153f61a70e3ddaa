"""Writes the generated parts of the documentation: `python docs/generate.py [FOLDER]`.

lineage.schema.json describes what `visionline lineage --json` prints, data.schema.json what
`visionline data --json` does, config.schema.json what the TOML files may hold. In the pages of
PAGES, what stands between `<!-- generated: NAME -->` and `<!-- end -->` comes from the code;
tests/project/test_docs.py compares.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from json_schema import schema_of  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from common.config.docstrings import docstrings, in_words  # noqa: E402
from common.config.strict import hints_of  # noqa: E402
from common.record.artifacts import (  # noqa: E402
    Blessing,
    Erasure,
    Examples,
    Model,
    Pin,
    Predictions,
    Pushed,
)
from common.record.record import Record  # noqa: E402
from common.record.run import Run  # noqa: E402
from common.record.steps import (  # noqa: E402
    Data,
    Inference,
    Push,
    Rollback,
    Step,
    Training,
    Trial,
    Verdict,
)
from components.example_gen.preview.summary import Preview  # noqa: E402
from lineage.answers import ANSWERS, answer_class, format_name  # noqa: E402
from pipeline.cli import deploy, run  # noqa: E402
from pipeline.cli.data import FORMAT as DATA_FORMAT  # noqa: E402
from pipeline.cli.kubeflow import compile  # noqa: E402
from pipeline.cli.main import app  # noqa: E402
from pipeline.config import PipelineConfig  # noqa: E402
from pipeline.deploy.config import DeployConfig  # noqa: E402
from serving.config import ServeConfig  # noqa: E402

ANSWERS_SCHEMA = "lineage.schema.json"
DATA_SCHEMA = "data.schema.json"
CONFIG_SCHEMA = "config.schema.json"
PAGES = ("configuration.md", "cli.md", "kubernetes-serving.md", "provenance.md")

FLAGS = {
    key: "--" + flag.replace("_", "-")
    for flag, key in [
        *run.FLAGS.items(),
        *run.RUNNER.items(),
        *compile.FLAGS.items(),
        *((flag, f"deploy.{key}") for flag, key in deploy.FLAGS.items()),
        ("no_baseline", run.BASELINE),
    ]
}
"""By key."""

EXECUTIONS = (Step, Data, Training, Inference, Verdict, Trial, Push, Rollback)
ARTIFACTS = (Examples, Model, Predictions, Blessing, Pushed, Pin, Erasure)
STORED = {
    **{"str": "text", "int": "number", "float": "number", "bool": "0 or 1"},
    **{"tuple": "lines", "dict": "JSON", "list": "JSON"},
}
"""How a field's type is stored."""

DEFAULTS = {"name": "the name of the data folder"}
"""Of the fields whose default `load_config` finds."""


def main(folder: Path) -> None:
    parts = {"cli": cli(), **{name: table(name, cls) for name, cls in tables()}}
    parts |= {"record.run": properties(Run), "record.executions": records(*EXECUTIONS)}
    parts |= {"record.artifacts": records(*ARTIFACTS)}
    for page in PAGES:
        text = (DOCS / page).read_text()
        for name in re.findall(r"<!-- generated: (\S+) -->", text):
            text = replaced(text, name, parts[name])
        (folder / page).write_text(text)
    schemas = {ANSWERS_SCHEMA: answers(), DATA_SCHEMA: data(), CONFIG_SCHEMA: configs()}
    for name, schema in schemas.items():
        (folder / name).write_text(json.dumps(schema, indent=1) + "\n")


def answers() -> dict[str, Any]:
    """The JSON of every `visionline lineage` command, as JSON Schema."""
    defs: dict[str, Any] = {}
    for kind in ANSWERS:
        defs[kind] = answer(answer_class(kind), format_name(kind), defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answers of visionline lineage --json",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in ANSWERS],
        "$defs": defs,
    }


def data() -> dict[str, Any]:
    """The JSON of `visionline data`, as JSON Schema."""
    defs: dict[str, Any] = {}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answer of visionline data --json",
        **answer(Preview, DATA_FORMAT, defs),
    }
    return {**schema, "$defs": {k: v for k, v in defs.items() if k != Preview.__name__}}


def answer(cls: type, format_: str, defs: dict[str, Any]) -> dict[str, Any]:
    """What a command prints of a dataclass: with its format, which has a version."""
    schema_of(cls, docstrings, defs)
    plain = defs[cls.__name__]
    return {
        **plain,
        "properties": {"format": {"const": format_}, **plain["properties"]},
        "required": sorted(["format", *plain["required"]]),
    }


def configs() -> dict[str, Any]:
    """The TOML files of a run, of a deployment and of a server, as JSON Schema.

    No key is required: a flag can say any of them.
    """
    defs: dict[str, Any] = {}
    run, deploy, serve = (
        schema_of(cls, docstrings, defs, complete=False)
        for cls in (PipelineConfig, DeployConfig, ServeConfig)
    )
    table = {"type": "object", "properties": {"deploy": deploy}, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configs of visionline run, deploy and serve",
        "anyOf": [run, table, serve],
        "$defs": defs,
    }


def replaced(text: str, name: str, part: str) -> str:
    """The text with a new part between the markers of a name."""
    begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
    head, _, rest = text.partition(begin)
    return f"{head}{begin}{part}{end}{rest.partition(end)[2]}"


def cli() -> str:
    """The help of every command, at 80 columns."""
    return "\n".join(f"## {title}\n\n```text\n{text}```\n" for title, text in _pages())


def _pages(*group: str) -> Iterator[tuple[str, str]]:
    """Title and help of a command, and of those below it."""
    text = help_of(*group)
    yield " ".join(("visionline", *group)), text
    for command in re.findall(r"^  (\S+)", text.partition("Commands:")[2], re.MULTILINE):
        yield from _pages(*group, command)


def help_of(*command: str) -> str:
    plain = {"NO_COLOR": "1", "TERM": "dumb", "FORCE_COLOR": None}
    arguments = {"prog_name": "visionline", "terminal_width": 78}
    asked = CliRunner().invoke(app, [*command, "--help"], env=plain, **arguments)
    if asked.exit_code:
        raise SystemExit(f"visionline {' '.join(command)} --help failed: {asked.exception!r}")
    return asked.stdout


def tables() -> Iterator[tuple[str, type]]:
    """Each table of the TOML files, by dotted name; "top" for the keys outside any."""
    yield "top", PipelineConfig
    yield from _tables_in(PipelineConfig, "")
    yield "deploy", DeployConfig
    yield from _tables_in(DeployConfig, "deploy.")


def _tables_in(cls: type, prefix: str) -> Iterator[tuple[str, type]]:
    hints = hints_of(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            yield prefix + field.name, hints[field.name]
            yield from _tables_in(hints[field.name], f"{prefix}{field.name}.")


def table(name: str, cls: type) -> str:
    """The keys of one table: type, default, flag, meaning."""
    prefix = "" if name == "top" else f"{name}."
    meanings, hints = docstrings(cls), hints_of(cls)
    lines = ["| key | type | default | flag | meaning |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            continue
        key = prefix + field.name
        if field.name not in meanings:
            raise SystemExit(f"{key}: expected a docstring below the field.")
        meaning = linked(in_words(meanings[field.name]))
        flag = f"`{FLAGS[key]}`" if key in FLAGS else ""
        cells = [
            f"`{field.name}`",
            toml_type(hints[field.name]),
            default(key, field),
            flag,
            meaning,
        ]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def records(*classes: type[Record]) -> str:
    """A table of properties for each class, under its docstring."""
    return "\n".join(f"### {str(cls.__doc__).rstrip('.')}\n\n{properties(cls)}" for cls in classes)


def properties(cls: type[Record]) -> str:
    """What is recorded: property, type, meaning."""
    said = docstrings(cls)
    lines = ["| property | type | what |", "|---|---|---|"]
    for field in dataclasses.fields(cls):
        kind = str(field.type).removesuffix(" | None").replace(", ...]", "]")
        kind = STORED.get(kind.partition("[")[0], kind)
        lines.append(f"| `{field.name}` | {kind} | {said.get(field.name, '')} |")
    return "\n".join(lines) + "\n"


def linked(meaning: str) -> str:
    """The pages that a text names, as links."""
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", meaning)


def toml_type(hint: Any) -> str:
    """A field's type in the words of TOML, and the range of a number."""
    noun, rule = _toml_type(hint)
    return f"{noun} ({rule})" if rule else noun


def _toml_type(hint: Any) -> tuple[str, str]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        noun, rule = _toml_type(args[0])
        # Of texts the meaning says it.
        return noun, args[1].expected if args[0] in (int, float) else rule
    if origin in (Union, types.UnionType):
        sides = [a for a in args if a is not type(None)]
        return _toml_type(sides[0]) if len(sides) == 1 else (" or ".join(map(toml_type, sides)), "")
    if origin is Literal:
        return ", ".join(f"`{toml(a)}`" for a in args), ""
    if origin in (dict, tuple):
        noun, rule = _toml_type(args[1] if origin is dict else args[0])
        kind = "table" if origin is dict else "list"
        count = "" if origin is dict or args[-1] is ... else f"{len(args)} "
        each = f"each {rule}" if rule else ""
        return (kind, "") if noun == "any" else (f"{kind} of {count}{noun}s", each)
    words = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any"}
    return words.get(hint, "table"), ""


def default(key: str, field: dataclasses.Field[Any]) -> str:
    if key in DEFAULTS:
        return DEFAULTS[key]
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "**required**"
    return "not set" if value is None else f"`{toml(value)}`"


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        pairs = ", ".join(f"{k} = {toml(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
