"""What `data.ignore` leaves aside: patterns as in a .gitignore."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence

from pathspec import GitIgnoreSpec

IGNORED = "data.ignore"
"""What these files are counted under."""
_SPECIAL = re.compile(r"([\\*?\[\]!# ])")


class Ignore:
    """The patterns, and which of them matched anything."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._spec = GitIgnoreSpec.from_lines(patterns)
        self._used: set[int] = set()

    def __call__(self, path: bytes | str, *, is_directory: bool = False) -> bool:
        """Says whether a path is left aside, with all that is below it.

        Args:
          path: relative to the source.
        """
        if not self._patterns:
            return False
        result = self._spec.check_file(os.fsdecode(path) + "/" * is_directory)
        if result.index is not None:
            self._used.add(result.index)
        return bool(result.include)

    @property
    def unused(self) -> list[str]:
        """Patterns that matched nothing so far."""
        return [p for i, p in enumerate(self._patterns) if i not in self._used and p.strip()]


def to_ignore(paths: Iterable[bytes]) -> str:
    """Returns what to write in a config so that folders are left aside."""
    patterns = [f"{_SPECIAL.sub(_escaped, os.fsdecode(path))}/**" for path in paths]
    return f"data.ignore = {json.dumps(patterns, ensure_ascii=False)}"


def _escaped(match: re.Match[str]) -> str:
    return match[1] if match[1] == " " else "\\" + match[1]
