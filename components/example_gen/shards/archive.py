"""A zip or tar of an image folder, read without unpacking it.

Listed as a folder is, through a tree of the names in it.  Nothing is written, so no name can
lead anywhere; links within the archive are followed.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
import zipfile
import zlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from lzma import LZMAError

from common.errors import DataError
from common.images.errors import BadImage
from components.example_gen.config import Columns, DataConfig
from components.example_gen.digest import MAX_FILE_BYTES
from components.example_gen.folders.listing import list_tree
from components.example_gen.folders.names import image_by_name, is_hidden
from components.example_gen.folders.tree import Entry
from components.example_gen.manifest import SUFFIXES as MANIFESTS
from components.example_gen.records import Quarantined, Record, Shard, Source, show
from components.example_gen.shards import tar
from components.example_gen.shards.contract import Image
from components.example_gen.shards.splits import split_said

_HEAD_BYTES = 512
"""Kept of a file whose name does not say whether it is an image, and of a link in a zip."""
_ENCRYPTED, _UTF8 = 0x1, 0x800
"""Flags of a zip's member."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_DRIVE = re.compile(rb"[A-Za-z]:")


def list_archives(base: str, names: Sequence[str], config: DataConfig) -> Source:
    """Lists the images of archives, of several as if they had been unpacked beside each other.

    An archive that is called as a split, or whose images are in no folder, is unpacked into a
    folder of its own name.

    Raises:
      DataError: as for a folder; or an archive is damaged or encrypted.
    """
    where = os.path.join(base, names[0]) if len(names) == 1 else base
    tree = _Tree(where)
    for number, name in enumerate(names):
        members = list(_members(os.path.join(base, name)))
        has_folder = len(names) > 1 and (split_said(name, base) or not _any_folder(members))
        tree.add(number, members, os.fsencode(_stem(name)) + b"/" if has_folder else b"")
    try:
        source = list_tree(tree, where, config)
    except DataError as e:
        if (manifest := _manifest(tree)) is None:
            raise
        raise DataError(
            f"{e} The archive holds a manifest ({manifest}), which is read from a folder only: to "
            "go by it, unpack the archive, and give the manifest as data.path."
        ) from None
    images: list[dict[int, tuple[Record, ...]]] = [{} for _ in names]
    records, quarantined = [], [*source.quarantined]
    for record in source.records:
        if (found := tree.resolved(record.path)) is None:
            detail = "a link to nothing in the archive"
            quarantined.append(
                Quarantined(path=record.path, label=record.label, reason="missing", detail=detail)
            )
            continue
        number, index = found
        images[number][index] = (*images[number].get(index, ()), record)
        records.append(record)
    outside = (Quarantined(path=p, label="", reason="outside-the-archive") for p in tree.outside)
    return replace(
        source,
        kind="archive",
        base=os.fsencode(base),
        records=tuple(records),
        quarantined=(*quarantined, *outside),
        shards=tuple(
            Shard(path=os.fsencode(name), members=members)
            for name, members in zip(names, images, strict=True)
        ),
    )


def check(file: str, shard: Shard, columns: Columns) -> None:
    """Leaves nothing to check: the listing has read all names."""


def read(file: str, shard: Shard, columns: Columns) -> Iterator[Image]:
    """Yields the images of an archive, in its order; raises DataError."""
    contents = _zip_contents if _is_zip(file) else _tar_contents
    for index, data in contents(file, shard):
        for record in shard.members[index]:
            yield record, data


def _any_folder(members: Sequence[_Member]) -> bool:
    return any(b"/" in m.path and not is_hidden(m.path.split(b"/")[0]) for m in members)


def _stem(name: str) -> str:
    """Returns an archive's name without its ending."""
    return re.sub(r"(\.tar)?\.\w+$", "", os.path.basename(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A name in an archive."""

    path: bytes
    index: int
    """Its place in the archive, where a name may be more than once."""
    is_folder: bool = False
    is_symlink: bool = False
    target: bytes | None = None
    """Of a link, also a hard one: the path that it leads to."""
    head: bytes = b""


@dataclass(slots=True)
class _Tree:
    """The files of some archives as one tree."""

    where: str
    files: dict[bytes, tuple[int, _Member]] = field(default_factory=dict)
    """By path: the archive's number, and the member."""
    folders: dict[bytes, set[bytes]] = field(default_factory=lambda: {b"": set()})
    outside: list[bytes] = field(default_factory=list)
    """Names that would lead out of an archive."""

    def add(self, number: int, members: Iterable[_Member], mount: bytes) -> None:
        """Adds an archive; of members with one name the last counts, as in unpacking."""
        for member in members:
            if _leads_out(member.path):
                self.outside.append(member.path)
                continue
            path = mount + member.path
            self._add_folder(path if member.is_folder else posixpath.dirname(path))
            if not member.is_folder:
                target = None if member.target is None else mount + member.target
                self.folders[posixpath.dirname(path)].add(path)
                if self.files.get(path, (number,))[0] != number:
                    raise DataError(
                        f"{self.where}: {show(path)} is in two of the archives; remove one of "
                        "them, or give one as data.path."
                    )
                self.files[path] = number, replace(member, target=target)

    def _add_folder(self, path: bytes) -> None:
        if path not in self.folders:
            self.folders[path] = set()
            self._add_folder(posixpath.dirname(path))
            self.folders[posixpath.dirname(path)].add(path)

    def entries(self, directory: bytes) -> list[Entry]:
        return [
            Entry(path, path in self.folders, self._is_symlink(path))
            for path in sorted(self.folders[directory])
        ]

    def _is_symlink(self, path: bytes) -> bool:
        return path in self.files and self.files[path][1].is_symlink

    def identity(self, directory: bytes) -> Hashable:
        return directory

    def head(self, path: bytes, size: int) -> bytes:
        return self.files[path][1].head[:size]

    def resolved(self, path: bytes) -> tuple[int, int] | None:
        """Returns the archive and the place of the file that a path leads to, over links."""
        for _ in range(_MOST_LINKS):
            if path not in self.files:
                return None
            number, member = self.files[path]
            if member.target is None:
                return number, member.index
            path = member.target
        return None


_MOST_LINKS = 40
"""That lead from one to the next, as on Linux."""


def _leads_out(path: bytes) -> bool:
    return path.startswith(b"/") or bool(_DRIVE.match(path)) or b".." in path.split(b"/")


def _manifest(tree: _Tree) -> str | None:
    found = [p for p in tree.files if show(p).lower().endswith(MANIFESTS) and p.count(b"/") < 2]
    return show(min(found)) if found else None


def _members(file: str) -> Iterator[_Member]:
    return _zip_members(file) if _is_zip(file) else _tar_members(file)


def _is_zip(file: str) -> bool:
    """Goes by the beginning: a tar may end in a zip."""
    with open(file, "rb") as f:
        return f.read(4).startswith(b"PK") or file.lower().endswith(".zip")


def _path(name: bytes) -> bytes:
    """Returns a name as the others are written: without "./", doubled or ending slashes."""
    return posixpath.normpath(name) if name.strip(b"./") and b".." not in name else name


def _wants_head(path: bytes) -> bool:
    return image_by_name(posixpath.basename(path)) == "perhaps"


def _zip_members(file: str) -> Iterator[_Member]:
    with _opened_zip(file) as archive:
        for index, info in enumerate(archive.infolist()):
            path = _path(_zip_name(info))
            if info.flag_bits & _ENCRYPTED:
                raise DataError(f"{file}: {show(path)} is encrypted; unpack it with its password.")
            if info.compress_type not in _METHODS:
                raise DataError(
                    f"{file}: {show(path)} is packed by method {info.compress_type}, which Python "
                    "cannot read; unpack the zip, or pack it with deflate."
                )
            symlink = stat.S_ISLNK(info.external_attr >> 16)
            head = b""
            if not info.is_dir() and (symlink or _wants_head(path)):
                head = _head(archive, info)
            target = posixpath.join(posixpath.dirname(path), head) if symlink else None
            yield _Member(
                path=path,
                index=index,
                is_folder=info.is_dir(),
                is_symlink=symlink,
                target=target and posixpath.normpath(target),
                head=head,
            )


def _opened_zip(file: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError) as e:
        raise DataError(
            f"{file}: the zip is cut off or damaged ({e}); fetch or pack it again."
        ) from None


def _zip_name(info: zipfile.ZipInfo) -> bytes:
    """Returns the name's bytes, with "/" also where an old Windows has written backslashes."""
    name = info.orig_filename.encode()
    if not info.flag_bits & _UTF8:  # Apple's are UTF-8 without saying so
        raw = info.orig_filename.encode("cp437")
        with suppress(UnicodeDecodeError):
            name = raw.decode().encode()
    return name.replace(b"\\", b"/")


def _zip_data(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    try:
        with archive.open(info) as f:
            return f.read(most)
    except (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError) as e:
        raise BadImage("damaged", f"in the zip: {e}") from None


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return _zip_data(archive, info, _HEAD_BYTES)
    except BadImage:
        return b""


def _zip_contents(file: str, shard: Shard) -> Iterator[tuple[int, bytes | BadImage]]:
    with _opened_zip(file) as archive:
        for index, info in enumerate(archive.infolist()):
            if index in shard.members:
                try:
                    yield index, _limited(_zip_data(archive, info, MAX_FILE_BYTES + 1))
                except BadImage as e:
                    yield index, e


def _limited(data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise BadImage("too-large", f"more than {MAX_FILE_BYTES} bytes")
    return data


def _tar_members(file: str) -> Iterator[_Member]:
    for index, (member, contents) in enumerate(tar.members(file)):
        path = _path(os.fsencode(member.name))
        target = None
        if member.issym():
            folder = posixpath.dirname(path)
            target = posixpath.normpath(posixpath.join(folder, os.fsencode(member.linkname)))
        elif member.islnk():
            target = _path(os.fsencode(member.linkname))
        elif contents is None and not member.isdir():
            continue  # a device or pipe
        yield _Member(
            path=path,
            index=index,
            is_folder=member.isdir(),
            is_symlink=member.issym(),
            target=target,
            head=contents.read(_HEAD_BYTES) if contents and _wants_head(path) else b"",
        )


def _tar_contents(file: str, shard: Shard) -> Iterator[tuple[int, bytes | BadImage]]:
    for index, (member, contents) in enumerate(tar.members(file)):
        if index not in shard.members or contents is None:
            continue
        if member.size > MAX_FILE_BYTES:
            yield index, BadImage("too-large", f"{member.size} bytes, at most {MAX_FILE_BYTES}")
        else:
            yield index, contents.read()
