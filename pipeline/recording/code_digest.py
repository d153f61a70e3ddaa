"""Digests of the code that prepares images and makes and serves models, for keys and record.

They cover every module that the step, or the server, imports of visionline, wherever in
it, but no word that people read: docstrings, comments and the texts of errors.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Collection, Iterable
from pathlib import Path

from common.config.ranges import require
from common.errors import ConfigError, DataError, RunError, TrainingError
from common.files import digest, sha256_file, tree_digest
from pipeline.recording.imports import imported_names, name_of
from pipeline.recording.own_code import own_code, package_code
from trainers.config import TrainConfig
from trainers.frameworks import get_framework
from trainers.teacher import find_teacher

_ROOT = Path(__file__).parents[2]
_TRANSFORM = ("components.transform.graph", "components.transform.vocabulary")
_ARRAYS = "components.array_gen.arrays"
_TRAINER = "components.trainer.executor"
_NO_MODEL = frozenset(
    {
        *("common.errors", "common.process.progress", "components.details", "trainers.curves"),
        *("common.process.parent", "common.process.telemetry"),
    }
)
"""Modules that only tell people, or other processes, how a training goes."""
_ERRORS = frozenset(
    e.__name__
    for e in (ConfigError, DataError, RunError, TrainingError, *vars(builtins).values())
    if isinstance(e, type) and issubclass(e, Exception)
)
"""Not every class of such a name: what `MeanSquaredError("sum")` is told matters."""


def transform_code() -> str:
    """Returns a digest of all code that makes the transform graph."""
    return digest(_code(_TRANSFORM))


def arrays_code() -> str:
    """Returns a digest of all code that turns images into arrays."""
    return digest(_code([_ARRAYS], without=_NO_MODEL))


def training_code(config: TrainConfig) -> str:
    """Returns a digest of all code and weights that make a model, the user's own among it."""
    backend = get_framework(config.framework).package
    parts = _code([_TRAINER, *_modules(backend)], without=_NO_MODEL)
    for entry in (f"{backend}.backend:", config.model, config.input):
        others = own_code(entry)
        if ":" in entry:
            others |= package_code(entry.partition(":")[0], installed=True)
        parts |= {f"{entry} {name}": sha256_file(path) for name, path in others.items()}
    if config.pretrained is not None:
        weights = Path(config.pretrained)
        parts["pretrained"] = tree_digest(weights) if weights.is_dir() else sha256_file(weights)
    if (teacher := find_teacher(config.distillation)) is not None:
        parts["teacher"] = teacher.digest
    return digest(parts)


def serving_code() -> str:
    """Returns a digest of the server and of all that it imports."""
    return digest(_code(_modules("serving")))


def read_ahead() -> None:
    """Reads what both are made of, so that later only what is new has to be parsed."""
    _code([*_modules("serving"), *_modules("trainers"), _TRAINER])


def _modules(package: str) -> list[str]:
    """Returns all modules of a package of visionline's."""
    files = (_ROOT / package.replace(".", "/")).rglob("*.py")
    names = (".".join(f.relative_to(_ROOT).with_suffix("").parts) for f in files)
    return [name.removesuffix(".__init__") for name in names]


def _code(entries: Iterable[str], *, without: Collection[str] = ()) -> dict[str, str]:
    """Returns code by module: of the entries, and of all of visionline that they import."""
    code: dict[str, str] = {}
    waiting = [*entries]
    while waiting:
        module = waiting.pop()
        if module in code or module in without:
            continue
        path = _ROOT.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                code[module], imports = _read(module, file.name, file.read_bytes())
                waiting += [module.rpartition(".")[0], *imports]
    return code


@functools.cache
def _read(module: str, name: str, source: bytes) -> tuple[str, tuple[str, ...]]:
    """Returns a file's code without its words, and what it imports."""
    tree = ast.parse(source)
    imports = tuple(imported_names(module, Path(name), tree))
    return ast.dump(_Wordless().visit(tree)), imports


class _Wordless(ast.NodeTransformer):
    """Takes from code what is there for people alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = name_of(node.func)
        if name in _ERRORS:
            node.args = [_Textless().visit(a) for a in node.args]
        elif name == require.__name__:
            node.args = [node.args[0], *(_Textless().visit(a) for a in node.args[1:])]
        return self.generic_visit(node)


class _Textless(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")
