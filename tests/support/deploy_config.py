"""Deployments as the tests render and apply them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import ROOT, python

from common.config.strict import parse
from pipeline.deploy.config import DeployConfig
from pipeline.deploy.model import Model
from pipeline.deploy.render import render
from pipeline.deploy.validate import schema, validate

OWN = {"storage": "pvc://models/serving", "image": "registry.example.com/visionline-serving:1"}


TENSORFLOW = {
    **{"storage": "s3://bucket/serving", "runtime": "tensorflow"},
    "runtime_version": "2.19.1",
}


def config(base: dict[str, Any] = OWN, **changed: Any) -> DeployConfig:
    return parse(DeployConfig, {**base, **changed})


def manifest(base: dict[str, Any] = OWN, name: str = "digits", **changed: Any) -> dict[str, Any]:
    loaded = config(base, **changed)
    found = render(loaded, Model(name=name, version=loaded.version, manifest=None))
    validate(found)
    return found


def predictor(*args: Any, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = manifest(*args, **changed)["spec"]["predictor"]
    return found


def container(*args: Any, **changed: Any) -> dict[str, Any]:
    found = predictor(*args, **changed)
    inside: dict[str, Any] = found["model"] if "model" in found else found["containers"][0]
    return inside


TMP = {"name": "tmp", "mountPath": "/tmp"}


def root(found: dict[str, Any]) -> str:
    kind: str = schema()["roots"][f"{found['apiVersion']} {found['kind']}"]
    return kind


def levels(name: str, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every table of a manifest whose fields are fixed: its type and where it is."""
    yield name, path
    for key, inside in value.items():
        field = schema()["$defs"][name]["properties"][key]
        if "items" in field:
            parts = [(field["items"], part, (*path, key, i)) for i, part in enumerate(inside)]
        else:
            parts = [(field, inside, (*path, key))]
        for inner, part, where in parts:
            if "$ref" in inner:
                yield from levels(inner["$ref"].removeprefix("#/$defs/"), part, where)


FLAGS = ("--storage", "pvc://models/serving", "--image", "a/visionline-serving:1")


def kubectl(folder: Path, script: str) -> str:
    """A PATH with a kubectl on it that does what the script says."""
    folder.mkdir(exist_ok=True)
    (folder / "kubectl").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "kubectl").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def deploy(*args: str | Path, **env: str) -> Any:
    return python("-m", "pipeline.cli.main", "deploy", *map(str, args), cwd=ROOT, **env)
