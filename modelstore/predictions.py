"""Predictions: a model's scores of the images of one split, as BulkInferrer keeps them.

`<split>.parquet` has a row for each example, in the order of the examples:

    image/path     binary: as in the raw example
    image/sha256   string
    label          string: the class's name
    …              binary: the extra columns of the data; null where an example has none
    image/scores   fixed_size_list<float>[C]: probabilities, in the order of `class_names`

and `predictions.json` says whose they are (`Origin`).  Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from common.config.strict import dump, parse
from common.errors import DataError
from common.files import read_json, write_json
from modelstore.raw_example import LABEL, PATH, SHA256

if TYPE_CHECKING:
    import pyarrow as pa

SCORES = "image/scores"
_FILE = "predictions.json"
_ROWS = 4096
"""Of a row group: what a reader or writer holds at a time."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose predictions they are, of what, and how they were made."""

    model_digest: str
    """See `modelstore.artifact.model_digest`."""
    class_names: tuple[str, ...]
    """In the order of the scores."""
    engine: str
    """A name of `modelstore.engines`."""
    parity: float
    """Largest difference of any score from the SavedModel's own, on `compared` images."""
    compared: int
    split: str
    images: int
    images_digest: str
    """SHA-256 over the `image/sha256` of all, in order."""
    columns: tuple[str, ...]
    """The extra columns of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some images, in the order of the examples."""

    paths: tuple[bytes, ...]
    sha256: tuple[str, ...]
    labels: tuple[str, ...]
    columns: Mapping[str, Sequence[bytes | None]]
    scores_NC: Floats


class PredictionsReader:
    """The predictions in a folder.

    Raises:
      DataError: there are none, or their files are not whole.
    """

    def __init__(self, directory: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self.origin = parse(Origin, read_json(directory / _FILE))
            self.file = directory / f"{self.origin.split}.parquet"
            self._parquet = pq.ParquetFile(self.file, memory_map=True)
        except (OSError, ValueError, pa.ArrowException) as e:
            raise DataError(
                f"{directory} holds no predictions that can be read: {e}. Run the pipeline again."
            ) from None
        found = self._parquet.metadata.num_rows
        if found != self.origin.images:
            raise DataError(
                f"{self.file} has {found} rows; expected {self.origin.images}, as many as "
                "images were predicted. Remove it and run the pipeline again."
            )

    @property
    def groups(self) -> int:
        """The number of groups of rows; all but the last have the same size."""
        return int(self._parquet.num_row_groups)

    def rows(self, group: int, class_names: Sequence[str] | None = None) -> Rows:
        """Reads one group.

        Args:
          class_names: in whose order the scores are wanted; by default that of the model.

        Raises:
          DataError: the model knows other classes.
        """
        table = self._parquet.read_row_group(group)
        scores = table.column(SCORES).combine_chunks()
        scores_NC = scores.flatten().to_numpy().reshape(len(scores), -1)
        if class_names is not None:
            scores_NC = scores_NC[:, self._places(class_names)]
        return Rows(
            paths=tuple(table.column(PATH).to_pylist()),
            sha256=tuple(table.column(SHA256).to_pylist()),
            labels=tuple(table.column(LABEL).to_pylist()),
            columns={name: table.column(name).to_pylist() for name in self.origin.columns},
            scores_NC=scores_NC,
        )

    def _places(self, class_names: Sequence[str]) -> list[int]:
        own = {name: place for place, name in enumerate(self.origin.class_names)}
        if changed := sorted(own.keys() ^ set(class_names)):
            raise DataError(
                f"{self.file} has scores of other classes; expected the same but for their order, "
                f"got a difference in {', '.join(map(repr, changed[:5]))}."
            )
        return [own[name] for name in class_names]


class PredictionsWriter:
    """Writes predictions group by group; `finish` says whose they are.

    Args:
      columns: the extra columns of the data.
    """

    def __init__(self, directory: Path, split: str, columns: Sequence[str], classes: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        self._directory = directory
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self.images = 0
        """That were written so far."""
        self._digest = hashlib.sha256()
        texts = {PATH: pa.binary(), SHA256: pa.string(), LABEL: pa.string()}
        texts |= dict.fromkeys(columns, pa.binary())
        self._schema = pa.schema({**texts, SCORES: pa.list_(pa.float32(), classes)})
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            directory / f"{split}.parquet",
            self._schema,
            compression="zstd",
            use_dictionary=[LABEL, *columns],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, values: Mapping[str, Sequence[Any]], scores_NC: Floats) -> None:
        """Adds images.

        Args:
          values: of all columns but the scores, by name.
        """
        pa = self._pa
        scores = pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(scores_NC).reshape(-1)), scores_NC.shape[1]
        )
        arrays = [
            scores if field.name == SCORES else pa.array(values[field.name], field.type)
            for field in self._schema
        ]
        self._held.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._digest.update("".join(values[SHA256]).encode())
        self._rows += len(scores_NC)
        self.images += len(scores_NC)
        if self._rows >= _ROWS:
            self._flush(whole_groups=True)

    @property
    def images_digest(self) -> str:
        """Returns `Origin.images_digest` of what was written so far."""
        return self._digest.hexdigest()

    def finish(self, origin: Origin) -> None:
        """Writes what is held, and whose predictions these are."""
        self._flush(whole_groups=False)
        self._writer.close()
        write_json(self._directory / _FILE, dump(origin))

    def _flush(self, *, whole_groups: bool) -> None:
        table = self._pa.Table.from_batches(self._held, self._schema)
        written = len(table) // _ROWS * _ROWS if whole_groups else len(table)
        if written:
            self._writer.write_table(table.slice(0, written), row_group_size=_ROWS)
        self._held = table.slice(written).to_batches()
        self._rows = len(table) - written
