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
    """The patterns, and which of them matched anything.

    Raises:
      ValueError: one is no pattern.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._spec = GitIgnoreSpec.from_lines(patterns)
        self._used: set[int] = set()

    def __call__(self, path: bytes | str, *, is_directory: bool = False) -> bool:
        """Says whether a path is left aside, with all that is below it.

        Args:
          path: relative to the source.
        """
        if not self._spec.patterns:
            return False
        result = self._spec.check_file(os.fsdecode(path) + "/" * is_directory)
        if result.index is not None:
            self._used.add(result.index)
        return bool(result.include)

    @property
    def notices(self) -> list[str]:
        """What a person should know: patterns that matched nothing so far."""
        unused = [
            str(pattern.pattern)
            for index, pattern in enumerate(self._spec.patterns)
            if pattern.include is not None and index not in self._used
        ]
        return [f"data.ignore: {pattern!r} matches nothing." for pattern in unused]


def to_ignore(paths: Iterable[bytes]) -> str:
    """Returns what to write in a config so that folders are left aside."""
    patterns = [f"{_SPECIAL.sub(_escaped, os.fsdecode(path))}/**" for path in paths]
    return f"data.ignore = {json.dumps(patterns, ensure_ascii=False)}"


def _escaped(match: re.Match[str]) -> str:
    return match[1] if match[1] == " " else "\\" + match[1]
