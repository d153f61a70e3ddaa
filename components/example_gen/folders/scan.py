"""What a tree holds: folders, and which of their files are images."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from common.images.signatures import HEAD, begins_as_image
from components.example_gen.folders.ignore import IGNORED, Ignore
from components.example_gen.folders.names import (
    MARKERS,
    extension,
    image_by_name,
    is_hidden,
    is_system,
    may_hold_labels,
)
from components.example_gen.folders.tree import Entry, Tree
from components.example_gen.records import show

HIDDEN = "hidden or system files"
LINKED = "folders linked more than once"


@dataclass(slots=True, eq=False)
class Folder:
    """A folder and what counts in it."""

    path: bytes
    """Below the tree's root."""
    folders: list[Folder] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    """Paths of what is expected to be an image."""
    others: Counter[str] = field(default_factory=Counter)
    """What else there is, by kind."""
    tables: list[bytes] = field(default_factory=list)
    """Paths of files that may name labels."""
    dotted: list[bytes] = field(default_factory=list)
    """Paths of folders whose names begin with a dot."""
    error: str = ""
    """Why it cannot be read."""
    aside: bool = False
    """Whether it is a tool's own, such as a Python environment."""
    images: int = 0
    """Files that are expected to be images, in all folders below too."""

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]

    @property
    def label(self) -> str:
        """The name, for people."""
        return show(self.name)

    @property
    def filled(self) -> list[Folder]:
        """The folders in it that hold images, however deep."""
        return [f for f in self.folders if f.images]

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.folders or self.error or set(self.others) - {HIDDEN})

    @property
    def is_wrapper(self) -> bool:
        """Says whether it holds folders with images and no image of its own."""
        return not self.files and bool(self.filled)

    def walk(self) -> Iterator[Folder]:
        """Yields this folder and all below it, parents first."""
        waiting = deque([self])
        while waiting:
            folder = waiting.popleft()
            yield folder
            waiting.extend(folder.folders)


@dataclass(slots=True)
class Scan:
    """Looks through a tree.

    Each real directory is visited once, so that loops of symbolic links end; and by its
    own name, if that is within the tree.
    """

    tree: Tree
    follow_symlinks: bool
    ignore: Ignore
    ignored: Counter[str] = field(default_factory=Counter)
    _visited: set[Hashable] = field(default_factory=set)
    _real: list[Folder] = field(default_factory=list)
    _linked: deque[Folder] = field(default_factory=deque)

    def run(self) -> Folder:
        """Returns the root."""
        root = Folder(b"")
        self._real.append(root)
        while self._real or self._linked:
            self._visit(self._real.pop() if self._real else self._linked.popleft())
        for folder in reversed(list(root.walk())):
            folder.images = len(folder.files) + sum(f.images for f in folder.folders)
        return root

    def _visit(self, folder: Folder) -> None:
        try:
            identity = self.tree.identity(folder.path)
            if identity in self._visited:
                self.ignored[LINKED] += 1
                folder.others[LINKED] += 1
                return
            self._visited.add(identity)
            entries = self.tree.entries(folder.path)
        except OSError as e:
            folder.error = e.strerror or str(e)
            return
        if folder.path and any(entry.name.lower() in MARKERS for entry in entries):
            self.ignored[HIDDEN] += 1
            folder.aside = True
            return
        for entry in entries:
            self._add(folder, entry)

    def _add(self, folder: Folder, entry: Entry) -> None:
        if self.ignore(entry.path, is_directory=entry.is_directory):
            self._pass(folder, IGNORED)
        elif is_hidden(entry.name):
            self._pass(folder, HIDDEN)
            if entry.is_directory and not is_system(entry.name):
                folder.dotted.append(entry.path)
        elif entry.is_symlink and not self.follow_symlinks:
            self._pass(folder, "symbolic links")
        elif entry.is_directory:
            child = Folder(entry.path)
            folder.folders.append(child)
            (self._linked if entry.is_symlink else self._real).append(child)
        elif self._is_image(entry):
            folder.files.append(entry.path)
        else:
            if may_hold_labels(entry.name):
                folder.tables.append(entry.path)
            ending = show(extension(entry.name))
            self._pass(folder, f"*{ending}" if ending else "files without an extension")

    def _pass(self, folder: Folder, kind: str) -> None:
        folder.others[kind] += 1
        self.ignored[kind] += 1

    def _is_image(self, entry: Entry) -> bool:
        said = image_by_name(entry.name)
        if said != "perhaps":
            return said == "yes"
        try:
            return begins_as_image(self.tree.head(entry.path, HEAD))
        except OSError:  # whoever reads it says why it cannot be read
            return True
