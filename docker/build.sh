#!/usr/bin/env bash
# Builds an image with docker, podman or buildah, whichever there is, and prints its name.
#
# Usage: docker/build.sh serving|pipeline [--variant cpu|cuda] [--base IMAGE] [--tag NAME]
#
# Taken from the environment, for the building alone, and left in no layer:
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST, UV_INDEX_URL, DEBIAN_MIRROR,
#   http_proxy, https_proxy, no_proxy (also in capitals); PIP_CERT or SSL_CERT_FILE;
#   ENGINE chooses the engine.
set -euo pipefail
cd "$(dirname "$0")/.."
. docker/engine.sh

target=${1:-} variant=cpu base='' tag=''
case $target in
    serving | pipeline) shift ;;
    *) fail "expected serving or pipeline, got '$target'." ;;
esac
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value."
    case $1 in
        --variant) variant=$2 ;;
        --base) base=$2 ;;
        --tag) tag=$2 ;;
        *) fail "unknown option $1." ;;
    esac
    shift 2
done
case $target-$variant in
    pipeline-cpu | pipeline-cuda | serving-cpu) ;;
    serving-*) fail "the serving image is for CPUs alone." ;;
    *) fail "--variant: expected cpu or cuda, got '$variant'." ;;
esac
find_engine
engine_options

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
short=${revision:0:7}
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then
    revision=$revision-changed short=$short-changed
fi
if [ -z "$tag" ]; then
    tag=visionline-$target:$version-$short
    [ "$target" = serving ] || tag=$tag-$variant
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: "${PIP_INDEX_URL:=${UV_INDEX_URL:-}}"
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST DEBIAN_MIRROR \
    http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || printf '%s=%s\n' "$name" "${!name}"
done >"$work/environment"
ca=${PIP_CERT:-${SSL_CERT_FILE:-/dev/null}}

arguments=(--file "docker/$target.Dockerfile" --tag "$tag"
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
    --secret "id=environment,src=$work/environment" --secret "id=ca,src=$ca")
[ -z "$base" ] || arguments+=(--build-arg "BASE=$base")
[ "$target" = serving ] || arguments+=(--build-arg "VARIANT=$variant")
export DOCKER_BUILDKIT=1
if ! "$ENGINE" "${ENGINE_OPTIONS[@]}" build "${BUILD_OPTIONS[@]}" "${arguments[@]}" . >&2; then
    fail "$ENGINE could not build $tag. If it could not pull the base image, make one:
    docker/base.sh && docker/build.sh $target --variant $variant --base localhost/visionline-base"
fi
echo "$tag"
