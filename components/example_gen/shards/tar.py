"""The members of a tar, compressed or not, as a stream; one that is cut off is noticed.

Python's `tarfile` ends in silence where a tar does: after a member, in a header, or where
another tar was appended.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from common.errors import DataError

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""By the first two bytes; a file's name may say otherwise."""
_ENDS: tuple[type[Exception], ...] = (
    tarfile.EmptyHeaderError,  # type: ignore[attr-defined]
    tarfile.TruncatedHeaderError,  # type: ignore[attr-defined]
)
"""Which `tarfile` takes for the end."""
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


class _CutOffError(Exception):
    """A tar ended where a header should be."""


class _Header(tarfile.TarInfo):
    """A header, or the end that every tar has."""

    @classmethod
    def fromtarfile(cls, tar: Any) -> Any:
        try:
            return super().fromtarfile(tar)
        except _ENDS:
            raise _CutOffError from None


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a member."""

    file: str
    last: str
    """The member before it."""
    stream: IO[bytes]

    def read(self, most: int = -1) -> bytes:
        """Returns the first bytes, or all; raises DataError where the tar ends before them."""
        try:
            return self.stream.read(most)
        except _BROKEN as e:
            raise DataError(_broken(self.file, self.last, str(e) or type(e).__name__)) from None


def members(file: str) -> Iterator[tuple[tarfile.TarInfo, Contents | None]]:
    """Yields each member and its contents, to be read before the next; None where it has none.

    Raises:
      DataError: naming the last whole member, where the tar is cut off or damaged.
    """
    last = "the beginning"
    try:
        with _opened(file) as stream:
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # they would add up
                    data = tar.extractfile(member) if member.isreg() else None
                    yield member, Contents(file, last, data) if data else None
                    last = member.name
            _check_end(file, stream)
    except _CutOffError:
        raise DataError(_broken(file, last, "it ends without a tar's end")) from None
    except _BROKEN as e:
        raise DataError(_broken(file, last, str(e) or type(e).__name__)) from None


def _opened(file: str) -> IO[bytes]:
    with open(file, "rb") as f:
        opener: Any = _OPENERS.get(f.read(2), open)
    return opener(file, "rb")  # type: ignore[no-any-return]


def _check_end(file: str, stream: IO[bytes]) -> None:
    """Reads on to the end, where a compressed file's checksum is."""
    while rest := stream.read(1 << 20):
        if rest.strip(b"\0"):
            raise DataError(
                f"{file}: the tar goes on after its end, as when several are appended to one "
                "another; pack its files anew."
            )


def _broken(file: str, last: str, reason: str) -> str:
    return f"{file}: the tar is cut off or damaged after {last} ({reason}); fetch or pack it again."
