"""`visionline label`: names for versions, and how they share the traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from common.errors import ConfigError, RunError
from modelstore.labels import change_labels, read_labels
from modelstore.serving_folder import model_folder
from pipeline.cli.options import PushedNameArgument, ServingOption
from pipeline.cli.places import serving_folder
from pipeline.terminal import table

Number = TypeVar("Number", int, float)


def label(
    name: PushedNameArgument,
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LABEL=VERSION]...", help="Give a version a label, such as stable=3."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Share the traffic so, such as stable=90,canary=10; '' takes the shares away."
        ),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Take a label away.")] = None,
    serving: ServingOption = None,
) -> None:
    """Show or change the labels of a model's versions; servers follow at once."""
    folder = model_folder(serving_folder(serving), name)
    if labels or weights is not None or remove:
        versions = {k: _number(k, v, int) for k, v in map(_pair, labels or [])}
        shares = None
        if weights is not None:
            parts = [part for part in weights.split(",") if part]
            shares = {k: _number(k, v, float) for k, v in map(_pair, parts)}
        try:
            current = change_labels(folder, versions, shares, remove or [])
        except OSError as e:
            raise RunError(f"Cannot write to {folder}: {e.strerror}.") from None
    else:
        current = read_labels(folder)
    if not current.versions:
        typer.echo(f"{name} has no labels.")
        return
    table(
        ("label", "version", "weight"),
        [
            (each, str(version), f"{current.weights[each]:g}" if each in current.weights else "")
            for each, version in sorted(current.versions.items())
        ],
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"Expected LABEL=NUMBER, got {text!r}.")
    return key, value


def _number(label: str, text: str, kind: Callable[[str], Number]) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{label}: expected a number, got {text!r}.") from None
