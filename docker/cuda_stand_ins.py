"""Small stand-ins for the CUDA libraries that PyTorch names but never calls on a CPU.

PyPI's torch is built for CUDA: `import torch` fails unless every library that its own
name can be loaded and every function be found, also where there is no GPU.  These are
2 GB.  A stand-in has the functions' names and versions, and ends the process with the
name of its library when one is called.  libcudart, which says that there is no GPU, and
libcupti, which the profiler calls, must be the real ones.

Usage: python cuda_stand_ins.py SITE_PACKAGES/torch/lib    (needs gcc and readelf)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

USERS = ("libtorch_cpu.so", "libtorch_cuda.so", "libtorch_nvshmem.so", "libtorch_python.so")
"""What `import torch` loads."""
STAND_INS = {
    "libcublas.so.13": "",
    "libcublasLt.so.13": "",
    "libcudnn.so.9": "",
    "libcufft.so.12": "",
    "libcufile.so.0": "cuFile",
    "libcusparse.so.12": "",
    "libcusparseLt.so.0": "cusparseLt",
    "libnccl.so.2": "nccl",
    "libnvrtc.so.13": "",
    "libnvshmem_host.so.3": "",
}
"""Libraries, and how the names of their functions begin where these have no version."""
BODY = """
#include <stdlib.h>
#include <unistd.h>
static void refuse(void) {
    static const char said[] = "%s is not in this image, it is the one for CPUs: "
        "use the image built with VARIANT=cuda\\n";
    if (write(2, said, sizeof said - 1)) {}
    abort();
}
"""


def readelf(option: str, library: Path) -> str:
    done = subprocess.run(
        ["readelf", "--wide", option, str(library)], check=True, capture_output=True, text=True
    )
    return done.stdout


def asked_of(library: Path) -> dict[str, set[tuple[str, str, str]]]:
    """By library: (kind, symbol, version) that this one needs of it; version may be ""."""
    owner: dict[str, str] = {}
    current = ""
    for line in readelf("--version-info", library).splitlines():
        if found := re.search(r"File: (\S+)", line):
            current = found[1]
        elif found := re.search(r"Name: (\S+)\s+Flags: .*Version: \d", line):
            owner[found[1]] = current
    asked = defaultdict(set)
    symbol = re.compile(r"(FUNC|OBJECT|NOTYPE)\s+GLOBAL\s+DEFAULT\s+UND\s+([^\s@]+)(?:@(\S+))?")
    for kind, name, version in symbol.findall(readelf("--dyn-syms", library)):
        if version:
            asked[owner.get(version, "")].add((kind, name, version))
            continue
        for stand_in, prefix in STAND_INS.items():
            if prefix and name.startswith(prefix):
                asked[stand_in].add((kind, name, ""))
    return asked


def build(target: Path, symbols: set[tuple[str, str, str]]) -> None:
    versions = defaultdict(list)
    source = [BODY % target.name]
    for kind, name, version in sorted(symbols):
        versions[version].append(name)
        source.append(
            f"char {name}[64];"
            if kind == "OBJECT"
            else f'void {name}(void) __attribute__((alias("refuse")));'
        )
    script = [
        f"{version} {{ global: {'; '.join(names)}; }};"
        for version, names in versions.items()
        if version
    ]
    with tempfile.TemporaryDirectory() as folder:
        code, exported = Path(folder, "code.c"), Path(folder, "exported.map")
        code.write_text("\n".join(source))
        exported.write_text("\n".join(script))
        linked = [f"-Wl,--version-script={exported}"] if script else []
        command = ["gcc", "-shared", "-fPIC", "-s", "-fno-builtin", f"-Wl,-soname,{target.name}"]
        subprocess.run([*command, *linked, "-o", str(target), str(code)], check=True)


def main() -> None:
    folder = Path(sys.argv[1])
    symbols: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for user in USERS:
        for library, asked in asked_of(folder / user).items():
            symbols[library] |= asked
    for library in STAND_INS:
        if not symbols[library]:
            sys.exit(f"torch no longer asks for {library}: take it out of STAND_INS.")
        build(folder / library, symbols[library])


if __name__ == "__main__":
    main()
