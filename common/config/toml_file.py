"""A config as people write it: a TOML file, and flags on top; or one that a run recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.config.ranges import shown
from common.errors import ConfigError

_KEY_AND_VALUE = re.compile(r"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|[^="'])+)=(.*)""", re.DOTALL)
"""An equals sign within quotes is part of the key."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^.]*?)\s*(\.|$)""")


def read(path: Path | None) -> dict[str, Any]:
    """Reads the tables of a file, or of a recorded config; empty for None.

    Raises:
      ConfigError: it cannot be read, or is no TOML (or JSON, where its name says so).
    """
    if path is None:
        return {}
    import tomllib  # here, as everywhere below: the help of a command needs none

    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(table, dict):
            raise ValueError(f"expected an object, got a {type(table).__name__}")
        return table
    except OSError as e:
        raise ConfigError(f"Cannot read the config {path}: {e.strerror}.") from None
    except (ValueError, RecursionError) as e:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path} is not valid {kind}: {_reason(e)}.") from None


def settings(texts: Sequence[str] | None, flag: str = "--set") -> dict[str, Any]:
    """Reads `--set KEY=VALUE`: values by dotted key; each as TOML, or else as the text it is.

    Keys are left as written; `overlay` reads them.

    Args:
      flag: that they were given with, for errors.

    Raises:
      ConfigError: one is not KEY=VALUE.
    """
    return dict(_setting(text, flag) for text in texts or ())


def _setting(text: str, flag: str) -> tuple[str, Any]:
    quoted = _KEY_AND_VALUE.fullmatch(text)
    key, equals, value = (quoted[1], "=", quoted[2]) if quoted else text.partition("=")
    if not equals:
        raise ConfigError(f"{flag}: expected KEY=VALUE, got {text!r}.")
    import tomllib

    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
    except (ValueError, RecursionError) as e:
        raise ConfigError(
            f"{flag}: {key}: expected a value that can be read, got {shown(value)}: {_reason(e)}."
        ) from None


def _reason(error: Exception) -> str:
    """Says why a parser gave up: in its words, but for Python's of its stack or its settings."""
    if isinstance(error, RecursionError):
        return "lists and tables are nested too deeply"
    return "an integer has too many digits" if "integer string" in str(error) else str(error)


def overlay(data: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Lays values by dotted key, such as {"train.epochs": 3}, over the tables.

    Raises:
      ConfigError: a key has a quote that does not end, or something on the way to it is no table.
    """
    for key, value in overrides.items():
        table = data
        *parents, leaf = _names(key)
        for depth, parent in enumerate(parents, 1):
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                where = ".".join(parents[:depth])
                raise ConfigError(f"{where}: expected a table, got {shown(table)}.")
        table[leaf] = value


def in_key(name: str) -> str:
    """Writes a name as it can stand in a dotted key."""
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _names(key: str) -> list[str]:
    """Reads a key in TOML's syntax: names parted by dots, in quotes where they have dots.

    A name may have any other character too, such as an apostrophe or a letter beyond ASCII.
    """
    names, at = [], 0
    while at <= len(key):
        found = _NAME.match(key, at)
        assert found is not None, "a name may be anything up to a dot"
        names.append(_unquoted(found[1], key))
        at = found.end() if found[2] else len(key) + 1
    return names


def _unquoted(name: str, key: str) -> str:
    if name[:1] not in ('"', "'"):
        return name
    import tomllib

    try:
        return str(tomllib.loads(f"name = {name}")["name"])
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            f'{key}: expected a key in TOML\'s syntax, such as table."name.with.dots".'
        ) from None
