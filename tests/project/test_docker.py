"""What the images are built from, the scripts that build them, and compose.yaml."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from helpers import PACKAGES, ROOT

from common.config.strict import parse
from lineage.store.connection import PASSWORD_VARIABLE
from lineage.store.locate import VARIABLE
from pipeline.config import PipelineConfig

pytestmark = pytest.mark.quick

DOCKER = ROOT / "docker"
TARGETS = {"serving": ["serving"], "pipeline": ["pipeline-cpu", "pipeline-cuda"]}
"""Dockerfiles and the pins they may install."""
CUDA = re.compile(r"cuda-.*|nvidia-.*")


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9][\w.-]*)(?:\[[\w,]+\])?==(\S+)", text, re.M))


# --- Pins


@pytest.mark.parametrize("name", ["serving", "pipeline-cpu", "pipeline-cuda"])
def test_images_have_the_versions_that_are_tested(name: str) -> None:
    tested = pins("dev")
    tested["tensorflow-cpu"] = tested["tensorflow"]
    found = pins(name)
    assert {k: v for k, v in found.items() if tested.get(k) != v} == {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for requirement in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "--hash=sha256:" in requirement, requirement
    assert "://" not in text


def test_the_variants_differ_by_cuda_alone() -> None:
    cpu, cuda = pins("pipeline-cpu"), pins("pipeline-cuda")
    assert cpu.keys() - cuda.keys() == {"tensorflow-cpu"}
    assert {p for p in cuda.keys() - cpu.keys() if not CUDA.fullmatch(p)} == {"tensorflow"}
    assert {p for p in cpu if CUDA.fullmatch(p)} == {"nvidia-cuda-cupti", "nvidia-cuda-runtime"}


def reachable(*starts: str) -> tuple[set[str], set[str]]:
    """(modules of the project, others) that the import statements in some modules lead to."""
    own, others, ahead = set(), set(), list(starts)
    while ahead:
        name = ahead.pop()
        path = ROOT / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in own or not path.exists():
            continue
        own.add(name)
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            ahead += [n for n in names if n.partition(".")[0] in PACKAGES]
            others |= {n.partition(".")[0] for n in names}
    return own, others - set(sys.stdlib_module_names) - set(PACKAGES)


def test_the_serving_image_has_all_that_a_server_imports_and_nothing_of_training() -> None:
    modules = [
        str(p.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for p in (ROOT / "serving").rglob("*.py")
    ]
    own, imported = reachable(*modules)
    assert len(modules) > 10
    assert {m.partition(".")[0] for m in own} == {"common", "modelstore", "serving"}
    pinned = {p.replace("tensorflow-cpu", "tensorflow") for p in pins("serving")}
    providers = importlib.metadata.packages_distributions()
    heic = "pillow_heif"  # read where it is installed; its wheel holds code under the GPL
    missing = {
        name
        for name in imported - {heic}
        if not {d.lower().replace("_", "-") for d in providers[name]} & pinned
    }
    assert missing == set()
    training = r"torch.*|timm|jax.*|keras.*|tfx.*|apache-beam|ml-metadata|tensorflow-(transform|da"
    training += r"ta-validation|model-analysis)|pandas|scikit-learn|onnx|tf2onnx|nvidia-.*"
    assert {p for p in pinned if re.fullmatch(training, p)} == set()


def test_every_cuda_library_torch_asks_for_is_pinned_or_stood_in_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(DOCKER))
    import cuda_stand_ins

    folder = site_packages() / "torch/lib"
    needed = set()
    for name in cuda_stand_ins.USERS:
        text = cuda_stand_ins.readelf("--dynamic", folder / name)
        needed |= set(re.findall(r"\(NEEDED\).*\[(.+?)\]", text))
        asked = cuda_stand_ins.asked_of(folder / name)
        assert all(asked[lib] for lib in asked)
    cuda = {n for n in needed if re.match(r"lib(cu|nv|nccl)", n) and not (folder / n).exists()}
    real = {"libcudart.so.13", "libcupti.so.13"}
    assert cuda == cuda_stand_ins.STAND_INS.keys() | real


@pytest.mark.slow
def test_torch_trains_with_the_stand_ins(tmp_path: Path) -> None:
    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(site_packages() / "torch", tmp_path / "torch", copy_function=link)
    real = tmp_path / "nvidia/cu13/lib"
    real.mkdir(parents=True)
    for name in ("libcudart.so.13", "libcupti.so.13"):
        shutil.copy(site_packages() / "nvidia/cu13/lib" / name, real)
    for path in site_packages().iterdir():
        if path.name not in ("torch", "nvidia", "cuda"):
            (tmp_path / path.name).symlink_to(path)
    subprocess.run(
        [sys.executable, str(DOCKER / "cuda_stand_ins.py"), str(tmp_path / "torch/lib")], check=True
    )
    code = """
import torch
assert not torch.cuda.is_available()
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
images = torch.randn(8, 3, 8, 8)
optimizer = torch.optim.AdamW(model.parameters())
with torch.profiler.profile():
    model(images).sum().backward()
optimizer.step()
torch.export.export(model.eval(), (images,))
maps = open("/proc/self/maps").read()
assert "torch/lib/libcudnn.so.9" in maps and "nvidia/cudnn" not in maps
print("trained", flush=True)
torch.backends.cudnn.version()
"""
    # -S: nothing of the environment's own folder, which has the real libraries.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "trained\n", done.stderr
    assert "libcudnn.so.9 is not in this image" in done.stderr


def site_packages() -> Path:
    return Path(str(importlib.metadata.distribution("torch").locate_file("")))


# --- Dockerfiles


def copied(target: str) -> set[str]:
    """What a Dockerfile copies from the project."""
    text = (DOCKER / f"{target}.Dockerfile").read_text()
    found = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M):
        found |= set(line.split()[:-1])
    variants = {n.removeprefix("pipeline-") for n in TARGETS[target]}
    return {n.replace("${VARIANT}", v) for n in found for v in variants}


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_dockerfile_copies_exists_and_is_pinned(target: str) -> None:
    names = copied(target)
    assert [n for n in names if not (ROOT / n).exists()] == []
    requirements = {n for n in names if n.startswith("requirements/")}
    assert requirements == {f"requirements/{n}.txt" for n in TARGETS[target]}


def ignored(path: str, patterns: list[str]) -> bool:
    """As docker has it: the last pattern decides that matches the path or a folder above it."""
    parts = path.split("/")
    above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    found = False
    for pattern in patterns:
        regex = re.escape(pattern.removeprefix("!")).replace(r"\*\*/", "(.*/)?")
        regex = regex.replace(r"\*", "[^/]*")
        if any(re.fullmatch(regex, p) for p in above):
            found = not pattern.startswith("!")
    return found


def test_a_build_gets_what_the_dockerfiles_copy_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    wanted = copied("serving") | copied("pipeline")
    files = {str(p.relative_to(ROOT)) for n in wanted for p in [ROOT / n] if p.is_file()}
    folders = tuple(f"{n}/" for n in wanted if (ROOT / n).is_dir())
    for path in ROOT.rglob("*"):
        name = str(path.relative_to(ROOT))
        if name.startswith((".git/", ".venv/", ".tools/", "build/")) or not path.is_file():
            continue
        source = name in files or (name.startswith(folders) and "__pycache__" not in name)
        assert ignored(name, patterns) is not source, name
    for name in (".git/config", ".venv/bin/python", "build/demo/x", ".env", "pipeline/a/b.pyc"):
        assert ignored(name, patterns), name


@pytest.mark.parametrize("target", TARGETS)
def test_images_run_as_a_user_by_number_and_have_no_secret_argument(target: str) -> None:
    text = (DOCKER / f"{target}.Dockerfile").read_text()
    last = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last, re.M) == ["65532:65532"]
    assert set(re.findall(r"^ARG (\w+)", text, re.M)) <= {"BASE", "VARIANT", "VERSION", "REVISION"}
    assert "--mount=type=secret,id=environment" in text


@pytest.mark.parametrize(
    ("target", "commands"),
    [("serving", []), ("pipeline", ["visionline", "visionline-beam-worker"])],
)
def test_an_image_installs_what_it_copies_and_commands_that_start(
    target: str, commands: list[str], tmp_path: Path
) -> None:
    packages = {n for n in copied(target) if n in PACKAGES}
    for name in ("pyproject.toml", "README.md", *packages):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel('wheel')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if ".dist-info/" not in n]
        scripts = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        text = "".join(archive.read(n).decode() for n in scripts if ".dist-info/" in n)
    assert {n.partition("/")[0] for n in names} == packages
    assert re.findall(r"^(\S+) =", text, re.M) == commands


# --- Registries

DOMAINS = (
    *("pypi", "pythonhosted", "npmjs", "anaconda", "crates"),
    *("download.pytorch", "proxy.golang", "packages.cloud.google"),
    *(
        f"{name}.{of}"
        for name in ("deb", "security", "archive", "ports", "snapshot")
        for of in ("debian", "ubuntu")
    ),
)
HOSTS = re.compile(rf"\b({'|'.join(map(re.escape, DOMAINS))})\.(org|com|io)\b")
"""Of packages.  A base image is named with its registry, since engines ask for that."""


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is a matter of the machine that fetches them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(files) > 100
    found = {
        f"{file.relative_to(ROOT)}: {host[0]}"
        for file in files
        if file.is_file()
        for host in [HOSTS.search(file.read_text("utf-8", "replace"))]
        if host
    }
    assert found == set()


# --- Scripts

SCRIPTS = sorted(DOCKER.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_sound(script: Path) -> None:
    shell = "bash" if "bash" in script.read_text().splitlines()[0] else "sh"
    subprocess.run([shell, "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-x", str(script)], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "engine", "said"),
    [
        ([], "", "expected serving or pipeline, got ''"),
        (["training"], "", "expected serving or pipeline, got 'training'"),
        (["pipeline", "--variant", "tpu"], "", "--variant: expected cpu or cuda, got 'tpu'"),
        (["serving", "--variant", "cuda"], "", "the serving image is for CPUs alone"),
        (["serving", "--base"], "", "--base needs a value"),
        (["serving", "--push", "yes"], "", "unknown option --push"),
        (["serving"], "no-such-engine", "apt-get install podman buildah runc"),
    ],
)
def test_what_cannot_be_built_is_said(arguments: list[str], engine: str, said: str) -> None:
    done = subprocess.run(
        [str(DOCKER / "build.sh"), *arguments],
        env={**os.environ, "ENGINE": engine},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""


# --- compose.yaml


def services() -> dict[str, dict]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


def volumes(service: dict) -> dict[str, tuple[str, str]]:
    """Place in the container: (what is there, "ro" or "")."""
    found = {}
    for text in service["volumes"]:
        source, place, mode = re.fullmatch(r"(\$\{.+?\}|[^:]+):([^:]+)(?::(ro))?", text).groups()
        found[place] = (source, mode or "")
    return found


def test_services_meet_where_the_config_says() -> None:
    metadata, pipeline, server = (services()[n] for n in ("metadata", "pipeline", "server"))
    config = parse(PipelineConfig, tomllib.loads((DOCKER / "config.toml").read_text()))
    assert pipeline["command"] == ["run", "/config.toml"]
    assert volumes(pipeline)["/config.toml"][1] == "ro"
    assert volumes(pipeline)[config.data.path][1] == "ro"
    models, mode = volumes(pipeline)[str(config.push.destination)]
    assert mode == ""
    image = (DOCKER / "serving.Dockerfile").read_text()
    assert volumes(server) == {"/mnt/models": (models, "ro")}
    assert 'CMD ["/mnt/models"]' in image
    assert str(config.run.output).startswith("/workspace/") and "/workspace" in volumes(pipeline)
    url = re.fullmatch(r"mysql://(\w+)@(\w+):3306/(\w+)", str(config.run.metadata))
    environment = metadata["environment"]
    assert url is not None
    assert url.groups() == (
        environment["MARIADB_USER"],
        "metadata",
        environment["MARIADB_DATABASE"],
    )
    assert pipeline["environment"][VARIABLE] == config.run.metadata
    assert pipeline["depends_on"]["metadata"]["condition"] == "service_healthy"
    assert {p.rpartition(":")[2] for p in server["ports"]} == set(
        re.search(r"^EXPOSE (.+)$", image, re.M)[1].split()
    )


def test_the_password_comes_from_the_environment_alone() -> None:
    for service in services().values():
        for key, value in service.get("environment", {}).items():
            if key.endswith("PASSWORD") and "RANDOM" not in key:
                assert value.startswith(f"${{{PASSWORD_VARIABLE}:?"), key
    assert services()["pipeline"]["environment"][PASSWORD_VARIABLE]


def test_services_of_ours_may_do_no_more_than_they_must() -> None:
    for name in ("pipeline", "server"):
        service = services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(p.startswith("127.0.0.1:") for p in services()["server"]["ports"])
