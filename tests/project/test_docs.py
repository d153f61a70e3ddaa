"""The documentation against the code: commands, links, generated pages, examples."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from batch_of import batch_of
from conftest import Cli, Demo
from helpers import PACKAGES, ROOT, python
from packaging.requirements import Requirement

import serving.cli
from pipeline.cli.main import app
from pipeline.config import load_config
from pipeline.deploy.config import load_config as load_deploy_config
from pipeline.kubeflow.step import RELEASE
from trainers.config import TrainConfig
from trainers.contract import load_backend
from trainers.frameworks import frameworks

TOP = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
GROUP: Any = typer.main.get_command(app)
QUICK = ("data", "models", "schema", "predict", "versions", "lineage", "deploy")
COMPILED = "pipeline.yaml"
"""What `visionline kubeflow compile` writes."""
WRITING = {("lineage", "gc"), ("lineage", "import"), ("lineage", "pin"), ("lineage", "unpin")}
"""Quick too, but not for a store that other tests read."""
NEEDS_TRAFFIC = "docs/serving-request-log.md"
"""Its code runs in test_serving_request_log.py."""
FOLDERS = f"{' '.join(PACKAGES)} tests docs scripts requirements benchmarks examples"


def blocks(*languages: str, pages: Iterable[str] = TEXTS) -> list[str]:
    """The code blocks of the pages in one of the languages."""
    texts = [TEXTS[page] for page in pages]
    found = [m for t in texts for m in re.findall(r"^```(\w*)\n(.*?)^```", t, re.M | re.S)]
    return [text for language, text in found if not languages or language in languages]


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.M | re.S)


def inline_code() -> set[str]:
    return {code for page in TEXTS for code in re.findall(r"`([^`\n]+)`", prose(page))}


def command_lines() -> list[tuple[str, ...]]:
    """Every `visionline …` line of the code blocks, without the program's name."""
    lines = [line.strip() for block in blocks() for line in block.splitlines()]
    found = [re.fullmatch(r"(?:\.venv/bin/)?visionline (.+)", line) for line in lines]
    return sorted({tuple(shlex.split(m[1])) for m in found if m})


def resolve(words: tuple[str, ...]) -> tuple[Any, list[str]]:
    """The command that words name, also within a group, and the words after it."""
    command, rest = GROUP, list(words)
    with GROUP.make_context("visionline", rest, resilient_parsing=True) as ctx:
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            _, command, rest = command.resolve_command(ctx, rest)
    return command, rest


def lines_of(*commands: str) -> list[tuple[str, ...]]:
    return [line for line in command_lines() if line[0] in commands]


def runnable() -> list[tuple[str, ...]]:
    """Those that need nothing but what the demo leaves, and seconds."""
    quick = [line for line in lines_of(*QUICK) if line[:2] not in WRITING]
    return [c for c in quick if c[0] == "models" or any("build/demo" in word for word in c)]


@pytest.fixture(scope="module")
def folder(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader types the commands: the demo has run, the examples were copied."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "build").mkdir()
    (folder / "build" / "demo").symlink_to(demo.root)
    (folder / "photos").symlink_to(demo.images)
    (folder / "config.toml").write_text(blocks("toml", pages=["docs/configuration.md"])[0])
    for example in (ROOT / "examples").glob("*.py"):
        shutil.copy(example, folder)
    golden = (ROOT / "tests" / "golden" / "kubeflow.yaml").read_text()
    (folder / COMPILED).write_text(golden.replace("<release>", RELEASE))
    (folder / "no-folder").touch()
    teacher = folder / "visionline-runs" / "photos" / "serving" / "photos" / "3"
    teacher.parent.mkdir(parents=True)
    teacher.symlink_to(demo.serving / "digits-pytorch" / "1")
    return folder


@pytest.mark.parametrize("line", command_lines(), ids=" ".join)
def test_commands_are_what_the_parser_takes(line: tuple[str, ...]) -> None:
    command, arguments = resolve(line)
    command.make_context(line[0], arguments)


@pytest.mark.parametrize(
    "code", sorted(c for c in inline_code() if c.startswith("visionline ")), ids=str
)
def test_commands_within_sentences_exist(code: str) -> None:
    command, words = resolve(tuple(w for w in code.split()[1:] if w != "…"))
    options = {o for p in command.params for o in p.opts}
    assert {w for w in words if w.startswith("--")} <= options


@pytest.mark.parametrize("line", runnable(), ids=" ".join)
def test_quick_commands_do_what_they_are_shown_to_do(
    line: tuple[str, ...], folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    done = cli(*line, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout and "Traceback" not in done.stderr


def test_each_quick_command_is_shown_with_the_demo() -> None:
    assert {line[0] for line in runnable()} == set(QUICK)


@pytest.mark.parametrize("line", lines_of("run"), ids=" ".join)
def test_runs_are_accepted_up_to_the_output_folder(
    line: tuple[str, ...], folder: Path, cli: Cli
) -> None:
    done = cli(*line, "--output", "no-folder", cwd=folder)
    assert "Cannot write to the output folder" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("line", [c for c in lines_of("kubeflow") if c[1] == "run"], ids=" ".join)
def test_compiled_pipelines_are_accepted_up_to_their_volume(
    line: tuple[str, ...], folder: Path, cli: Cli
) -> None:
    """test_kubeflow_run.py runs them on."""
    done = cli(*line, cwd=folder)
    assert "The pipeline expects a volume at /mnt/visionline" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("page", TEXTS)
def test_configs_are_valid(page: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for text in blocks("toml", pages=[page]):
        path.write_text(text)
        if page.startswith("docs/serving"):
            serving.cli.load_config(path, {"serving": str(tmp_path)})
        elif text.startswith("[deploy]"):
            load_deploy_config(path, {})
        else:
            load_config(path, {})


@pytest.mark.parametrize(
    "code",
    blocks("python", pages=sorted(TEXTS.keys() - {NEEDS_TRAFFIC})),
    ids=lambda code: code.splitlines()[0],
)
def test_python_runs_on_what_the_demo_leaves(code: str, folder: Path) -> None:
    done = python("-P", "-c", code, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    code = "\n".join([*inline_code(), *blocks("sh")])
    named = set(re.findall(r"\bmake ([a-z-]+)", code))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, target


def test_every_page_is_linked() -> None:
    linked = set()
    for page in TEXTS:
        parent = (ROOT / page).parent
        targets = re.findall(r"\]\(([^)#\s]+)", prose(page))
        linked |= {(parent / t).resolve() for t in targets if not t.startswith("http")}
    folders = {p / "README.md" for p in linked if p.is_dir()}
    assert set(PAGES) - {ROOT / "README.md"} <= linked | folders


def test_files_that_are_named_exist() -> None:
    pattern = rf"(?<![\w/.-])(?:{FOLDERS.replace(' ', '|')})/[\w./-]*"
    named = {path for code in inline_code() for path in re.findall(pattern, code)}
    assert len(named) > 10
    assert [p for p in sorted(named) if not (ROOT / p).exists()] == []


def test_generated_pages_are_up_to_date(tmp_path: Path) -> None:
    done = python("docs/generate.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for page in tmp_path.iterdir():
        told = "run `python docs/generate.py`"
        assert page.read_text() == (ROOT / "docs" / page.name).read_text(), told
    assert len(list(tmp_path.iterdir())) == 7


def messages() -> str:
    """All that the sources can say; the values that they fill in are left out."""
    found = [p.read_text() for p in (ROOT / "scripts").glob("*.sh")]
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [v.value if isinstance(v, ast.Constant) else "\n" for v in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_errors_in_troubleshooting_are_said_by_the_code() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", TEXTS["docs/troubleshooting.md"], re.M)
    parts = [
        p.strip() for r in rows for quoted in re.findall("`(.+?)`", r) for p in quoted.split("…")
    ]
    said = messages()
    assert len(parts) > 20
    assert [part for part in parts if part not in said] == []


def unmet_requirements() -> set[tuple[str, str]]:
    """(package, what it asks for and does not get), as `uv pip check` has it."""
    unmet = set()
    for package in importlib.metadata.distributions():
        for text in package.requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            try:
                version = importlib.metadata.version(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                version = None
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                unmet.add((package.name, requirement.name))
    return unmet


def test_every_unmet_requirement_is_explained() -> None:
    table = TEXTS["docs/decisions/0001-dependencies.md"]
    explained = set(re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \| \S", table, re.M))
    assert explained == unmet_requirements()


@pytest.mark.parametrize("framework", frameworks())
def test_example_models_train_and_are_saved(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    (name,) = {
        line[line.index("--model") + 1]
        for line in lines_of("run")
        if framework in line and any(":separable" in word for word in line)
    }
    backend = load_backend(framework)
    backend.configure(threads=2, seed=0)
    config = TrainConfig(framework=framework, model=name, model_args={"width": 8})
    learner = backend.build(config, num_classes=3, image_size=(16, 20))
    # Depthwise, pointwise and norm weights of each block, and the classifier's.
    blocks_of_8 = (27 + 24 + 16) + (72 + 128 + 32) + (144 + 512 + 64)
    assert learner.parameter_count == blocks_of_8 + 3 * 32 + 3
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 20, 3), dtype=np.uint8)
    batch = batch_of(images, np.arange(6) % 3)
    before = learner.predict(images)
    result = learner.train_step(batch, 1e-2)
    assert result.loss == pytest.approx(np.log(3), rel=0.5)
    after = learner.predict(images)
    assert np.abs(after - before).max() > 1e-4
    learner.save(tmp_path)
    np.testing.assert_allclose(backend.load(tmp_path).predict(images), after, atol=1e-5)


def test_example_inputs_are_shown_where_they_are_tried() -> None:
    """test_own_pipelines.py trains with them in each framework."""
    shown = {w for line in lines_of("run") for w in line if w.startswith("train.input=")}
    assert shown >= {"train.input=tf_input:hues", "train.input=torch_input:hues"}


def test_examples_are_short_and_named_in_the_docs() -> None:
    for example in (ROOT / "examples").glob("*.py"):
        assert len(example.read_text().splitlines()) < 60
        pages = TEXTS["docs/training.md"], TEXTS["docs/training-input.md"]
        assert any(f"examples/{example.name}" in page for page in pages)
        assert example.stem not in sys.stdlib_module_names
