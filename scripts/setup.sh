#!/usr/bin/env bash
# Makes the virtual environment with exactly what the requirements pin.
# Usage: scripts/setup.sh VENV REQUIREMENTS
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh
venv=$1 requirements=$2

fail() {
    printf 'visionline cannot be set up: %s\n' "$1" >&2
    exit 1
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    fail "TensorFlow Data Validation has wheels for Linux on x86_64 alone; this is $(uname -sm)."
# pyfarmhash (of TensorFlow Data Validation) comes as source alone.
command -v g++ >/dev/null ||
    fail "a C++ compiler is needed to build pyfarmhash. On Debian or Ubuntu: apt-get install g++"
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ -d "$venv" ] || [ "$free_mb" -gt 14000 ] ||
    fail "about 14 GB of disk are needed here (PyTorch brings CUDA); $free_mb MB are free."

find_uv
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
[ -x "$venv/bin/python" ] || "$UV" venv --quiet --python 3.11 "$venv"
"$venv/bin/python" -c '
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    fail "the headers of Python 3.11 are missing. On Debian or Ubuntu: apt-get install python3-dev"
"$UV" pip sync --python "$venv/bin/python" --require-hashes \
    --build-constraints requirements/build.txt "$requirements"
# The project itself: built with the pinned setuptools, nothing fetched.
"$UV" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
touch "$venv/.installed"
