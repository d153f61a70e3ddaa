"""Errors that are meant for the person who runs visionline.

Every message says what was expected, what was received and what to do.  The
command line prints the message alone, without a traceback, and exits with
`exit_code`.

    VisionlineError
    ├── ConfigError      a config file, flag or value that cannot be used
    ├── DataError        the images, labels or manifest cannot be used
    ├── TrainingError    training or export failed for a reason we can name
    └── RunError         the run cannot start or go on (lock, disk, owner)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VisionlineError(Exception):
    """Base class; `exit_code` is what the command line exits with."""

    exit_code = 1


class ConfigError(VisionlineError):
    exit_code = 2


class DataError(VisionlineError):
    pass


class TrainingError(VisionlineError):
    pass


class RunError(VisionlineError):
    pass


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence that names the nearest known name.

    Args:
      name: what was received.
      known: the valid names.

    Returns:
      ``" Did you mean 'x'?"``, or the list of names where it is short, or "".
    """
    names = sorted(known)
    folded = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {folded[close[0]]!r}?"
    if 1 <= len(names) <= 12:
        return f" Known: {', '.join(names)}."
    return ""
