"""Who may import whom, read from the sources; docs/decisions/0016-rooms.md has the reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import PACKAGES, ROOT, python

from trainers.frameworks import frameworks

FRAMEWORKS = {f.name: f.package for f in frameworks().values()}

pytestmark = pytest.mark.quick

BELOW: dict[str, set[str]] = {
    "common": set(),
    "modelstore": {"common"},
    "trainers": {"common", "modelstore"},
    "serving": {"common", "modelstore"},
    "components": {"common", "modelstore", "trainers"},
    "lineage": {"common", "modelstore", "components"},
    "pipeline": {"common", "modelstore", "trainers", "components", "serving", "lineage"},
}
"""What each package may import besides itself."""
ROOMS: dict[str, set[str]] = {
    "store": set(),
    "graph": {"store"},
    "images": {"store", "graph"},
    "questions": {"store", "graph", "images"},
    "cache": {"store", "graph", "questions"},
    "storage": {"store", "graph", "images", "questions"},
    "exchange": {"store", "graph", "questions"},
    "drawing": {"store", "graph", "questions"},
}
"""What each room of lineage may import besides itself; five floors."""
TFX = {"tfx", "apache_beam", "ml_metadata", "tfx_bsl", "tensorflow_data_validation"}
HEAVY = {
    *("tensorflow", "tensorflow_transform", "tensorflow_model_analysis", "tf_keras", "keras"),
    *("torch", "torchvision", "timm", "torchax", "jax", "flax"),
    *("onnx", "onnxruntime", "onnxscript", "tf2onnx", "tensorflow_hub", "safetensors"),
}
ALLOWED = {
    "modelstore/savedmodel.py": {"tensorflow"},
    "trainers/export.py": {"tensorflow", "onnxruntime"},
    "trainers/decoder.py": {"tensorflow"},
    "trainers/stream.py": {"tensorflow"},
    "modelstore/raw_example.py": {"tensorflow"},
    "modelstore/predictor.py": {"tensorflow"},
    "modelstore/engines.py": {"tensorflow", "onnxruntime"},
}
"""What every framework's model becomes, and is compared with; and what it is made from."""


def sources(*packages: str) -> list[str]:
    return sorted(
        f.relative_to(ROOT).as_posix() for p in packages for f in (ROOT / p).rglob("*.py")
    )


def in_backend(path: str) -> bool:
    return any(path.startswith(p.replace(".", "/") + "/") for p in FRAMEWORKS.values())


def imported(path: str) -> set[str]:
    """Top-level names a file imports, wherever in it."""
    return {name.partition(".")[0] for name in imported_modules(ast.parse(read(path)))}


def imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def test_the_reader_sees_every_kind_of_import():
    source = (
        "import a.b as c\nfrom d.e import f\n"
        "def g():\n    import h\n    importlib.import_module('i.j')\n"
    )
    assert set(imported_modules(ast.parse(source))) == {"a.b", "d.e", "h", "i.j"}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_lead_down_alone(package):
    wrong = {
        path: above
        for path in sources(package)
        if (above := imported(path) & set(PACKAGES) - BELOW[package] - {package})
    }
    assert wrong == {}


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_of_lineage_lie_on_each_other(room):
    names = {
        (path, name)
        for path in sources(f"lineage/{room}")
        for name in imported_modules(ast.parse(read(path)))
        if name.startswith("lineage")
    }
    allowed = ROOMS[room] | {room}
    assert not [n for n in names if n[1].partition(".")[2].partition(".")[0] not in allowed]


def test_every_module_of_lineage_is_in_a_room_or_at_its_door():
    own = {Path(p).relative_to("lineage") for p in sources("lineage")}
    assert {p.parts[0] for p in own} == {*ROOMS, "__init__.py", "answers.py"}


def test_no_modules_import_each_other_in_a_circle():
    paths = {p.removesuffix(".py").removesuffix("/__init__"): p for p in sources(*PACKAGES)}
    modules = {name.replace("/", "."): path for name, path in paths.items()}
    graph = {
        module: {
            name
            for node in ast.walk(ast.parse(read(path)))
            for name in imported_names(node)
            if name in modules and name != module
        }
        for module, path in modules.items()
    }
    assert circles(graph) == []


def imported_names(node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports; of `from a import b`, the module a.b if it is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        inside = {f"{node.module}.{alias.name}" for alias in node.names}
        paths = {name: ROOT / name.replace(".", "/") for name in inside}
        own = {n for n, p in paths.items() if p.is_dir() or p.with_suffix(".py").is_file()}
        yield from own
        if own != inside:
            yield node.module


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of nodes that can all be reached from each other."""
    reach = {node: set(graph[node]) for node in graph}
    for middle in graph:
        for node in graph:
            if middle in reach[node]:
                reach[node] |= reach[middle]
    together = {frozenset(o for o in reach[n] if n in reach[o]) for n in graph if n in reach[n]}
    return [set(nodes) for nodes in together]


def test_a_circle_is_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}
    assert circles(graph) == [{"b", "c"}]


@pytest.mark.parametrize("path", sources("common", "modelstore", "trainers"))
def test_what_models_are_made_by_knows_no_tfx(path):
    assert not imported(path) & TFX


@pytest.mark.parametrize(
    "path", [p for p in sources("common", "modelstore", "trainers") if not in_backend(p)]
)
def test_outside_its_backend_no_training_code_imports_a_framework(path):
    assert imported(path) & HEAVY <= ALLOWED.get(path, set())


@pytest.mark.parametrize("path", sources("serving"))
def test_serving_needs_neither_tfx_nor_a_training_framework(path):
    forbidden = TFX | {"jax", "torch", "torchvision", "timm", "torchax", "keras"}
    assert not imported(path) & forbidden


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_backend_does_not_import_another(framework):
    own = FRAMEWORKS[framework]
    others = [p for p in FRAMEWORKS.values() if p != own]
    for path in sources(own.replace(".", "/")):
        names = set(imported_modules(ast.parse(read(path))))
        assert not [n for n in names if n.startswith(tuple(others))], path


def framework_switches(tree: ast.Module) -> list[str]:
    """Comparisons with a framework's name, and tables with one as a key."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        else:
            continue
        inside = [leaf for part in parts for leaf in ast.walk(part)]
        if any(isinstance(leaf, ast.Constant) and leaf.value in FRAMEWORKS for leaf in inside):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "switch",
    [
        "x == 'keras'",
        "'pytorch' in x",
        "x in ('keras', 'y')",
        "d = {'keras': 1}",
        "match x:\n    case 'pytorch':\n        pass",
    ],
)
def test_a_switch_on_the_framework_is_seen(switch):
    assert framework_switches(ast.parse(switch))


@pytest.mark.parametrize("path", [p for p in sources(*PACKAGES) if not in_backend(p)])
def test_no_code_switches_on_the_framework_by_name(path):
    assert not framework_switches(ast.parse(read(path)))


def test_a_backend_has_the_modules_that_the_others_have():
    shared = {"__init__.py", "backend.py", "export.py", "learner.py", "models.py", "names.py"}
    for package in FRAMEWORKS.values():
        names = {f.name for f in Path(ROOT / package.replace(".", "/")).glob("*.py")}
        assert shared <= names, package


@pytest.mark.parametrize("module", ["pipeline.cli.main", "pipeline.config", "pipeline.run.session"])
def test_the_command_line_starts_light(module):
    heavy = HEAVY | TFX | {"numpy", "matplotlib", "sklearn", "pandas", "PIL", "tensorboard"}
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {heavy!r}))"
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "code",
    [
        "import modelstore.predictor",
        "import trainers.job, trainers.loop, trainers.export, modelstore.versions",
        "import components.trainer.child",
        "from trainers.curves import *; TensorBoardLog(Path(sys.argv[1])).close()",
    ],
)
def test_what_is_shared_by_the_frameworks_loads_none(tmp_path, code):
    seen = f"print(sorted(set(sys.modules) & {HEAVY | TFX!r}))"
    done = python("-c", f"import sys; from pathlib import Path; {code}; {seen}", str(tmp_path))
    assert done.stdout == "[]\n", done.stderr
