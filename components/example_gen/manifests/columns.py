"""Which column of a manifest is the path, which the label and which the split."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from common.errors import DataError, nearest

ROLES = ("path", "label", "split")
KEYS = {"path": "image", "label": "label", "split": "split"}
"""Of `data.columns`, by role."""
_NAMES = {
    "path": "path paths file files filename filenames filepath filepaths fname image images "
    "imagefile imagefilename imagepath imagename imageid img imgpath imgname",
    "label": "label labels labelname labelid class classes classname classid category categoryname "
    "categoryid target choice",
    "split": "split subset set dataset partition fold",
}
"""What the columns are called elsewhere, without blanks, dashes and underscores."""


def column_of(
    role: str, columns: Sequence[str], where: str, chosen: str | None = None
) -> str | None:
    """Returns the column that has a role: by its name, in any case, or by a common one.

    Args:
      chosen: the one that the config names.

    Raises:
      DataError: there are several, or the chosen one is not there.
    """
    if chosen is not None:
        if chosen not in columns:
            raise DataError(
                f"{where}: data.columns.{KEYS[role]} is {chosen!r}, got {_listed(columns)}."
                f"{nearest(chosen, columns)}"
            )
        return chosen
    found = candidates(role, columns)
    if len(found) > 1:
        raise DataError(
            f"{where}: the columns {' and '.join(map(repr, found))} could each be the {role}; "
            f'call the one that is {role!r}, or write data.columns.{KEYS[role]} = "{found[0]}".'
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
    first, second = [*columns, "NAME", "NAME"][:2]
    return DataError(
        f"{where}: expected the columns path and label (or names such as filename and class), "
        f"got {_listed(columns)}; name them so, or say which they are: "
        f'data.columns = {{image = "{first}", label = "{second}"}}.'
    )


def _listed(columns: Collection[str]) -> str:
    return ", ".join(map(repr, columns)) or "nothing"


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
