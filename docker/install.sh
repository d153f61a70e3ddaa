#!/bin/sh
# First stage of the images: a virtual environment with exactly what a file pins.
# Usage, in /src: install.sh REQUIREMENTS    (makes /opt/visionline)
#
# How this machine reaches its package index comes as build secrets, so it is in no layer:
# "environment" (lines NAME=VALUE, such as PIP_INDEX_URL) and "ca" (certificates to trust).
set -eu
requirements=$1
venv=/opt/visionline

if [ -s /run/secrets/environment ]; then
    while IFS= read -r line; do export "${line?}"; done </run/secrets/environment
fi
if [ -s /run/secrets/ca ]; then
    export PIP_CERT=/run/secrets/ca
fi

# What a base image may lack; this stage is thrown away.
missing=
command -v readelf >/dev/null || missing=binutils
python3.11 -c 'import ensurepip' 2>/dev/null || missing="$missing python3.11-venv"
if [ "$requirements" != requirements/serving.txt ]; then
    # pyfarmhash comes as source alone.
    command -v g++ >/dev/null || missing="$missing g++"
    header=$(python3.11 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
    [ -e "$header" ] || missing="$missing python3.11-dev"
fi
if [ -n "$missing" ]; then
    if [ -n "${DEBIAN_MIRROR:-}" ]; then
        find /etc/apt -type f \( -name "*.sources" -o -name sources.list \) -exec \
            sed -E -i "s|https?://[^ ]*/debian|$DEBIAN_MIRROR|" {} +
    fi
    apt-get update -qq
    # shellcheck disable=SC2086 # several words
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
fi

# pip stays outside of what becomes the image.
python3.11 -m venv /tmp/installer
python3.11 -m venv --without-pip "$venv"
pip() { /tmp/installer/bin/pip --python "$venv/bin/python" "$@"; }
export PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_ROOT_USER_ACTION=ignore PIP_QUIET=1
# Sources are built with the pinned setuptools.
sed -n '/^setuptools==/,/[^\\]$/p' "$requirements" >/tmp/setuptools.txt
pip install --require-hashes --requirement /tmp/setuptools.txt
pip install --require-hashes --no-deps --no-build-isolation --requirement "$requirements"
pip install --no-deps --no-build-isolation /src

# What no process here reads: headers, the packages' own tests, the linker's tables.
cd "$venv/lib/python3.11/site-packages"
rm -rf tensorflow/include torch/include nvidia/*/include pyarrow/include
find . -type d -name tests -prune -exec rm -rf {} +
strip --strip-unneeded tensorflow/libtensorflow_*.so.2
