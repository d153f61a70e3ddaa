#!/usr/bin/env bash
# Renews requirements/dev.txt from pyproject.toml with all its extras, and from both what the images install.
# Usage: scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh

find_uv
pin() {
    "$UV" pip compile --quiet \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --build-constraints requirements/build.txt \
        --prerelease if-necessary-or-explicit --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@"
}

pin pyproject.toml --extra all --extra dev --override requirements/overrides.txt \
    --output-file requirements/dev.txt "$@"

# The images have the versions of dev.txt; tensorflow-cpu has that of tensorflow.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n 's/^\([a-z0-9][^ ]*==[^ ]*\).*/\1/p' requirements/dev.txt >"$work/versions.txt"
sed -n 's/^tensorflow==/tensorflow-cpu==/p' "$work/versions.txt" >>"$work/versions.txt"
grep -v '^tensorflow==' requirements/overrides.txt >"$work/overrides.txt"
pin_image() {
    pin --no-annotate --constraint "$work/versions.txt" "$@"
}

pin_image pyproject.toml --extra all --override requirements/overrides.txt \
    --output-file requirements/pipeline-cuda.txt
pin_image pyproject.toml --extra all requirements/cpu.in \
    --override "$work/overrides.txt" --override requirements/cpu-left-out.txt \
    --output-file requirements/pipeline-cpu.txt
pin_image requirements/serving.in --override requirements/serving-left-out.txt \
    --output-file requirements/serving.txt
