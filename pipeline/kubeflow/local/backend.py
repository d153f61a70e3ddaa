"""What the backend was seen to do to texts on their way into a container."""

from __future__ import annotations

import re
from typing import Any

from common.errors import ConfigError
from pipeline.kubeflow.compiler.lengths import length
from pipeline.kubeflow.words import LONGEST

Spec = dict[str, Any]
_ARGO = re.compile(r"\{\{\s*(workflow\.(?:name|uid|namespace))\s*\}\}")


def expanded(word: str, workflow: str) -> str:
    """Returns a word of a command after Argo and Kubernetes: the names of the workflow are
    filled in, and `$$` is `$`.

    Raises:
      ConfigError: it is longer than Linux takes.
    """
    word = _ARGO.sub(workflow, word).replace("$$", "$")
    size = len(word.encode())
    if size > LONGEST:
        raise ConfigError(f"Argument list too long: a word has {size} bytes, above {LONGEST}.")
    return word


def check_words(task: Spec, component: Spec, container: Spec) -> None:
    """Refuses what the driver does.

    Raises:
      ConfigError: a part of the spec is longer than one word of a command.
    """
    for what, part in (("task", task), ("component", component), ("container", container)):
        if length(part) > LONGEST:
            raise ConfigError(
                f"failed to unmarshal {what} spec: it has {length(part)} bytes, above {LONGEST}"
            )
