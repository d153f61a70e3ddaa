"""Texts as they reach a container of Kubeflow Pipelines whole.

The backend hands a task's spec and its inputs on as words of commands, each of which Argo
expands (`{{workflow.name}}`), Kubernetes expands (`$(NAME)`, and `$$` is `$`), and Linux
bounds (`MAX_ARG_STRLEN`).  So what one of the two would change, or what is long, travels
compressed in letters that mean nothing to them.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from common.errors import ConfigError

LONGEST = 128 * 1024 - 1
"""Bytes of one word of a command, without the zero at its end."""
_PREFIX = "visionline-zlib:"
_LONG = 1000
"""Characters up to which a text can be read in the UI."""


def is_plain(text: str) -> bool:
    """Returns whether neither Argo nor Kubernetes would change a text."""
    return "$" not in text and "{{" not in text


def packed(text: str) -> str:
    """Returns a text as it may travel: itself, or what `unpacked` makes it of."""
    if is_plain(text) and len(text) <= _LONG and not text.startswith(_PREFIX):
        return text
    return _PREFIX + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(text: str) -> str:
    """Returns what was `packed`.

    Raises:
      ConfigError: it was cut or changed on its way.
    """
    if not text.startswith(_PREFIX):
        return text
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        return zlib.decompress(raw).decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError):
        raise ConfigError(
            f"Expected {text[:40]}… as `visionline kubeflow compile` wrote it; it cannot be "
            "unpacked. Was it changed by hand? Compile the pipeline again."
        ) from None
