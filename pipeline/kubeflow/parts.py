"""Texts that are too long for a word even compressed.

Tasks of their own hand on their parts as files, which have no bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.kubeflow.spec import Spec
from pipeline.kubeflow.words import packed, unpacked

PART = "part"
"""The input of such a task, and its output."""
_BYTES = 64 * 1024
_PREFIX = "part__"


def parts_of(text: str) -> list[str]:
    """Returns the parts of a text; none where it can travel in one piece."""
    whole = packed(text)
    if len(whole) <= _BYTES:
        return []
    return [whole[i : i + _BYTES] for i in range(0, len(whole), _BYTES)]


def input_name(key: str, number: int) -> str:
    """Returns under which input artifact a task gets a part of a parameter."""
    return f"{_PREFIX}{number:03d}__{key}"


def is_part(name: str) -> bool:
    return name.startswith(_PREFIX)


def joined(files: Mapping[str, Path]) -> dict[str, str]:
    """Returns the parameters of which a task got parts.

    Args:
      files: all its input artifacts, by name.
    """
    return _joined((name, path.read_text("utf-8")) for name, path in files.items() if is_part(name))


def text_of(spec: Spec, task: str, key: str) -> str:
    """Returns the text that is a task's parameter by its spec, whole; "" where there is none."""
    tasks = spec["root"]["dag"]["tasks"]
    inputs = tasks.get(task, {}).get("inputs", {})
    if key in inputs.get("parameters", {}):
        return _constant(inputs["parameters"][key])
    parts = {
        name: source["taskOutputArtifact"]["producerTask"]
        for name, source in inputs.get("artifacts", {}).items()
        if is_part(name)
    }
    producers = {n: tasks[p]["inputs"]["parameters"][PART] for n, p in parts.items()}
    return _joined((n, _constant(p)) for n, p in producers.items()).get(key, "")


def _joined(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    whole: dict[str, str] = {}
    for name, text in sorted(parts):
        key = name.removeprefix(_PREFIX).partition("__")[2]
        whole[key] = whole.get(key, "") + text
    return {key: unpacked(text) for key, text in whole.items()}


def _constant(source: Spec) -> str:
    return unpacked(str(source.get("runtimeValue", {}).get("constant", "")))
