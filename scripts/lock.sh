#!/usr/bin/env bash
# Renews requirements/dev.txt from pyproject.toml.
# Usage: scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh

find_uv
"$UV" pip compile pyproject.toml --quiet --extra dev \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --override requirements/overrides.txt --build-constraints requirements/build.txt \
    --prerelease if-necessary-or-explicit --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
    --output-file requirements/dev.txt "$@"
