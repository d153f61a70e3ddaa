"""The tree of errors and the exit codes, as `common.errors` and the documentation picture them."""

from __future__ import annotations

import ast
import re

from helpers import PACKAGES, ROOT

from common import errors
from common.errors import Exit, VisionlineError


def _tree_in_the_code() -> dict[str, str]:
    """The base of every error that derives from VisionlineError."""
    bases = {
        node.name: ast.unparse(node.bases[0])
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and node.bases
    }
    tree = {"VisionlineError": "Exception"}
    while more := {c: b for c, b in bases.items() if b in tree and c not in tree}:
        tree |= more
    return tree


def test_the_picture_shows_the_whole_tree():
    picture: dict[str, str] = {}
    above = ["Exception"]
    for indent, name in re.findall(r"^    ((?:[│├└─ ]{4})*)(\w+Error)", str(errors.__doc__), re.M):
        depth = len(indent) // 4 + 1
        above[depth:] = [name]
        picture[name] = above[depth - 1]
    assert picture == {c: b for c, b in _tree_in_the_code().items() if b != "ServingError"}


def test_the_picture_says_what_is_exited_with():
    codes = re.findall(r"(\w+Error) +(\d) ", str(errors.__doc__) + " ")
    assert len(codes) == 9
    for name, code in codes:
        error = getattr(errors, name)
        assert issubclass(error, VisionlineError)
        assert error.exit_code == int(code)


def test_the_documentation_has_every_exit_code():
    page = (ROOT / "docs/configuration.md").read_text()
    table = page.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = {int(c) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for c in row.split(",")}
    signals = {129, 141, 143}
    assert rows == {0, *Exit} | signals
