"""Reading a table that has a column of 0 and 1 for each class, and none for the label."""

from __future__ import annotations

from components.example_gen.manifests import columns, labels
from components.example_gen.manifests.table import Table

_OFF = {"0", "0.0"}
_ON = {"1", "1.0"}


def with_labels(table: Table, path: str) -> Table:
    """Returns the table with a label for each row: the column that is 1.

    One that has a column for the label, or any further one that holds anything else, stays as
    it is.  Rows that are 1 nowhere or in several columns go to the quarantine.

    Raises:
      DataError: all rows do.
    """
    names = tuple(dict.fromkeys(c for _, row in table.rows for c in row))
    images = columns.candidates("path", names)
    if len(images) != 1 or columns.candidates("label", names):
        return table
    given = columns.candidates("split", names)
    classes = [c for c in names if c not in (*images, *given)]
    values = {row.get(c, "") for _, row in table.rows for c in classes}
    if len(classes) < 2 or not values <= _OFF | _ON:
        return table
    read = Table(ignored=table.ignored)
    read.notices.append(
        f"{path}: the columns {', '.join(map(repr, classes[:3]))}{' …' * (len(classes) > 3)} "
        "hold 0 and 1 and are read as the classes."
    )
    for where, row in table.rows:
        split = {c: row[c] for c in given if c in row}
        chosen = [c for c in classes if row[c] in _ON]
        labels.add(read, where, row.get(images[0], ""), chosen, split)
    return labels.conclude(read, path, "class")
