"""The errors that are meant for people, and what a command exits with.

Every message says what was expected, what was received and what to do.  The
command line prints the message alone, without a traceback, and exits with
`exit_code`.

    VisionlineError            1  base class
    ├── ConfigError            2  a config file, flag or value cannot be used
    │   └── MissingKeyError       what is there can be used, but something is missing
    ├── DataError              1  images, labels or a manifest cannot be used
    │   ├── ExportError           a file of lineage is not whole
    │   └── NoIndexError          a dataset's index of images (lineage.images.index)
    ├── TrainingError          1  training or export failed for a reason we can name
    │   └── OutOfMemoryError      memory ran out
    ├── RunError               1  the run cannot start or go on (lock, disk, owner)
    ├── StoreError             5  the metadata store cannot be opened or read
    │   ├── UnreachableError      nothing answers
    │   └── NoDatabaseError       it answers, and has no such database
    ├── NotFoundError          4  what was asked for is not in the store
    ├── CannotTellError        6  it was not found, and may be there all the same
    └── ServingError           1  a request was refused; its kinds are in serving.errors

What is raised to be caught a few lines further (`BadImage`, `NodeFailed`) stands where it is
raised, and derives from Exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What a command exits with; 0 is done."""

    FAILED = 1
    WRONG_CONFIG = 2
    NOT_BLESSED = 3
    NOTHING_FOUND = 4
    """What was asked for is not there."""
    STORE_TROUBLE = 5
    """The metadata store cannot be opened or read."""
    CANNOT_TELL = 6
    """Nothing was found, and not everything could be looked at: the answer is not known."""
    INTERRUPTED = 130


class VisionlineError(Exception):
    """Base class; `exit_code` is what the command line exits with."""

    exit_code = Exit.FAILED


class ConfigError(VisionlineError):
    exit_code = Exit.WRONG_CONFIG


class MissingKeyError(ConfigError):
    """What is there can be used, but something required is not there."""


class DataError(VisionlineError):
    pass


class ExportError(DataError):
    """The file is not an export of lineage, or not a whole one."""


class TrainingError(VisionlineError):
    pass


class OutOfMemoryError(TrainingError):
    pass


class RunError(VisionlineError):
    pass


class StoreError(VisionlineError):
    """The store cannot be opened or read."""

    exit_code = Exit.STORE_TROUBLE


class UnreachableError(StoreError):
    """Nothing answers, or too busily; it may a little later."""


class NoDatabaseError(StoreError):
    """The server answers, and has no such database; or there is no such file."""


class NotFoundError(VisionlineError):
    """The store can be read, and what was asked for is not in it."""

    exit_code = Exit.NOTHING_FOUND


class CannotTellError(VisionlineError):
    """What was asked for was not found, and may be there all the same."""

    exit_code = Exit.CANNOT_TELL


class ServingError(VisionlineError):
    """A request that is refused; `status` is HTTP's, `code` the name of gRPC's status."""

    status = 500
    code = "INTERNAL"


def nearest(name: str, valid: Iterable[str]) -> str:
    """Ends an error's sentence with the valid name that is nearest to what was received.

    Returns:
      ``" Did you mean 'x'?"``, or the list of names where it is short, or "".
    """
    names = sorted(valid)
    folded = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {folded[close[0]]!r}?"
    if 1 <= len(names) <= 12:
        return f" Known: {', '.join(names)}."
    return ""
