"""How many CPUs are taken for ours: masks, and quotas of both kinds of control groups."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import PACKAGES, ROOT, python

from common.process.cpus import available_cpus, cpu_quota
from pipeline.beam_args import counted

pytestmark = pytest.mark.quick

PRINT = "from common.process.cpus import available_cpus; print(available_cpus())"


def process(root: Path, cgroup: str, *mounts: str, **quotas: str) -> Path:
    """A folder as /proc/self, of a process in groups below `root`.

    Args:
      mounts: of mountinfo, "ROOT MOUNTED TYPE OPTIONS"; MOUNTED is below `root`.
      quotas: contents of files below `root`, by path with "__" for "/" and "_dot_" for ".".
    """
    (root / "proc").mkdir()
    (root / "proc" / "cgroup").write_text(cgroup)
    lines = []
    for number, mount in enumerate(mounts):
        inside, mounted, kind, options = mount.split(" ")
        at = str(root / mounted).replace(" ", "\\040")
        lines.append(f"{number} 1 0:9 {inside} {at} rw,relatime shared:7 - {kind} x {options}")
    (root / "proc" / "mountinfo").write_text("\n".join(lines))
    for path, text in quotas.items():
        file = root / path.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root / "proc"


def test_version_2_takes_the_tightest_of_all_groups_above(tmp_path: Path) -> None:
    found = process(
        tmp_path,
        "0::/pod/server\n",
        "/ fs cgroup2 rw",
        fs__pod__server__cpu_dot_max="max 100000\n",
        fs__pod__cpu_dot_max="150000 100000\n",
        fs__other__cpu_dot_max="10000 100000\n",
    )
    assert cpu_quota(found) == 1.5


def test_version_1_takes_the_tightest_of_all_groups_above(tmp_path: Path) -> None:
    found = process(
        tmp_path,
        "7:cpu,cpuacct:/pod/server\n3:memory:/else\n0::/\n",
        "/ fs/cpu cgroup rw,cpu,cpuacct",
        "/ fs/memory cgroup rw,memory",
        fs__cpu__pod__server__cpu_dot_cfs_quota_us="400000\n",
        fs__cpu__pod__server__cpu_dot_cfs_period_us="100000\n",
        fs__cpu__pod__cpu_dot_cfs_quota_us="50000\n",
        fs__cpu__pod__cpu_dot_cfs_period_us="25000\n",
        fs__cpu__cpu_dot_cfs_quota_us="-1\n",
        fs__cpu__cpu_dot_cfs_period_us="100000\n",
    )
    assert cpu_quota(found) == 2.0


@pytest.mark.parametrize("path", ["/", "/../..", "/docker/1f", "/docker/1f/.."])
def test_a_container_sees_its_own_group_alone(tmp_path: Path, path: str) -> None:
    found = process(
        tmp_path,
        f"0::{path}\n",
        "/docker/1f fs cgroup2 rw",
        fs__cpu_dot_max="50000 100000",
    )
    assert cpu_quota(found) == 0.5


@pytest.mark.parametrize(
    ("cgroup", "text"),
    [
        ("0::/\n", "max 100000"),
        ("0::/\n", "max"),
        ("0::/\n", ""),
        ("0::/\n", "100000 0"),
        ("0::/\n", "many much"),
        ("", "100000 100000"),
        ("nonsense", "100000 100000"),
    ],
)
def test_without_a_quota_there_is_none(tmp_path: Path, cgroup: str, text: str) -> None:
    found = process(tmp_path, cgroup, "/ fs cgroup2 rw", fs__cpu_dot_max=text)
    assert cpu_quota(found) is None
    assert cpu_quota(tmp_path / "not there") is None


def test_a_mounts_name_may_have_spaces(tmp_path: Path) -> None:
    found = process(tmp_path, "0::/\n", fs__cpu_dot_max="200000 100000")
    (tmp_path / "fs").rename(tmp_path / "my fs")
    line = f"1 1 0:9 / {tmp_path}/my\\040fs rw - cgroup2 x rw"
    (found / "mountinfo").write_text(line)
    assert cpu_quota(found) == 2.0


def test_a_mask_is_heeded() -> None:
    one = min(os.sched_getaffinity(0))
    done = python("-c", f"import os; os.sched_setaffinity(0, {{{one}}}); {PRINT}")
    assert done.stdout == "1\n", done.stderr


@contextlib.contextmanager
def group() -> Iterator[tuple[Path, Path]]:
    """A control group of this machine, and one in it."""
    for top in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        outer = top / f"visionline-{os.getpid()}"
        try:
            outer.mkdir()
        except OSError:
            continue
        try:
            inner = outer / "inner"
            inner.mkdir()
            files = {"cpu.cfs_quota_us": "50000"}
            if not (outer / "cpu.cfs_quota_us").exists():
                files = {"cpu.max": "50000 100000"}
            if all((outer / name).exists() for name in files):
                for name, text in files.items():
                    (outer / name).write_text(text)
                yield outer, inner
                return
        except OSError:
            pass
        finally:
            for folder in (inner, outer):
                with contextlib.suppress(OSError):
                    folder.rmdir()
    pytest.skip("no control group for CPUs can be made here")


def test_a_real_quota_of_a_group_above_is_heeded() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU is what there is")
    with group() as (_, inner):
        join = f"open({str(inner / 'cgroup.procs')!r}, 'w').write('0')"
        pools = "import os; from common.process.cpus import size_pools; size_pools(); "
        pools += "print(os.getenv('OMP_NUM_THREADS'))"
        done = python("-c", f"{join}; {PRINT}; {pools}", OMP_NUM_THREADS="")
        assert done.stdout.split() == ["1"], done.stderr
        code = f"import os; os.environ.pop('OMP_NUM_THREADS'); {join}; {PRINT}; {pools}"
        done = python("-c", code, OMP_NUM_THREADS="7")
        assert done.stdout.split() == ["1", "1"], done.stderr


def test_workers_of_beam_are_counted_where_it_would_count_the_machines() -> None:
    mode = "--direct_running_mode=multi_processing"
    assert counted([mode, "--direct_num_workers=0"])[-1] == (
        f"--direct_num_workers={available_cpus()}"
    )
    for given in ([mode], [mode, "--direct_num_workers=3"], ["--runner=FlinkRunner"]):
        assert counted(given) == given


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_counts_otherwise(package: str) -> None:
    counting = re.compile(r"cpu_count|sched_getaffinity|multiprocessing\.|process_cpu_count")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / package).rglob("*.py"))
        if counting.search(path.read_text("utf-8"))
    ]
    assert found == (["common/process/cpus.py"] if package == "common" else [])
