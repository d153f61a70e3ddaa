"""Which column of a manifest is the path, which the label and which the split."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from common.errors import DataError

ROLES = ("path", "label", "split")
_NAMES = {
    "path": "path paths file files filename filenames filepath filepaths fname image images "
    "imagefile imagefilename imagepath imagename imageid img imgpath imgname",
    "label": "label labels class classes classname category categoryname target choice",
    "split": "split subset set dataset partition fold",
}
"""What the columns are called elsewhere, without blanks, dashes and underscores."""


def column_of(role: str, columns: Sequence[str], where: str) -> str | None:
    """Returns the column that has a role: by its name, in any case, or by a common one.

    Raises:
      DataError: there are several.
    """
    found = candidates(role, columns)
    if len(found) > 1:
        raise DataError(
            f"{where}: the columns {' and '.join(map(repr, found))} could each be the {role}; "
            f"call the one that is {role!r}."
        )
    return found[0] if found else None


def candidates(role: str, columns: Sequence[str]) -> list[str]:
    """Returns the columns that can have a role."""
    if role in columns:
        return [role]
    return [c for c in columns if c.casefold() == role] or [
        c for c in columns if _plain(c) in _NAMES[role].split()
    ]


def is_by_name(role: str, column: str) -> bool:
    """Says whether a column bears its role's own name."""
    return column.casefold() == role


def missing(columns: Collection[str], where: str) -> DataError:
    """Makes the error of a manifest that has no column for the path or the label."""
    shown = ", ".join(map(repr, columns)) or "nothing"
    return DataError(
        f"{where}: expected the columns path and label (or names such as filename and class), "
        f"got {shown}; name them so."
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
