"""YAML that 1.1 and 1.2 read alike.

Kubernetes and Kubeflow read numbers as 1.2 has them, and PyYAML writes 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
"""What neither version takes for a number; the words of either that are truth values or
nothing are known to PyYAML, which quotes them."""


def to_yaml(documents: Sequence[dict[str, Any]], *, sort_keys: bool = False) -> str:
    """Returns documents in which every text that could be read as something else is quoted."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """PyYAML's, with our texts."""

    def quoted(dumper: Any, text: str) -> Any:
        style = None if _WORD.fullmatch(text) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, quoted)
    Dumper.ignore_aliases = lambda *_: True
    whole: str = yaml.dump_all(documents, Dumper=Dumper, sort_keys=sort_keys, width=100)
    return whole
