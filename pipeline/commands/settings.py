"""`--set KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from trainers.errors import ConfigError

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any config key, such as train.augment.rotation=10."),
]


def settings(texts: Sequence[str] | None) -> dict[str, Any]:
    """Values by dotted key; each as TOML, or else as the text it is.

    Raises:
      ConfigError: one is not KEY=VALUE.
    """
    return dict(map(_setting, texts or ()))


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set: expected KEY=VALUE, got {text!r}.")
    import tomllib

    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
