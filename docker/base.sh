#!/usr/bin/env bash
# A base image from Debian's packages, where none can be pulled: Debian 12 with Python 3.11.
# Usage: docker/base.sh [--tag NAME]    (by default localhost/visionline-base)
#
# Needs root and debootstrap.  The packages come from where this machine's apt has Debian 12;
# DEBIAN_MIRROR= names another mirror, for the building alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. docker/engine.sh

tag=localhost/visionline-base
[ $# = 0 ] || { [ $# = 2 ] && [ "$1" = --tag ]; } || fail "usage: docker/base.sh [--tag NAME]"
tag=${2:-$tag}
find_engine
[ "$(id -u)" = 0 ] || fail "debootstrap needs root."
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"

# This machine's own sources of Debian 12, as sources.list has them.
own=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) main' \
    'Created-By: Packages' 'Component: main' | grep -E ' bookworm(-updates|-security)? ' | sort -u) ||
    [ -n "${DEBIAN_MIRROR:-}" ] ||
    fail "this machine's apt has no source of Debian 12 (bookworm): name a mirror, DEBIAN_MIRROR=."
building=$own
if [ -n "${DEBIAN_MIRROR:-}" ]; then
    building="deb $DEBIAN_MIRROR bookworm main
deb $DEBIAN_MIRROR bookworm-updates main
deb $DEBIAN_MIRROR-security bookworm-security main"
fi
mirror=$(sed -n 's/^deb \(.*\) bookworm main$/\1/p' <<<"$building" | head -1)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
debootstrap --variant=minbase \
    --include=ca-certificates,libpython3.11-stdlib,python3.11-minimal \
    bookworm "$root" "$mirror" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; fail "no base."; }
echo "$building" >"$root/etc/apt/sources.list"
{
    chroot "$root" apt-get -qq update
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -qq -y upgrade
} >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; fail "no security updates."; }
echo "${own:-$building}" >"$root/etc/apt/sources.list"
# What a container does not need; `apt-get update` brings the lists back.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/{doc,info,locale,man}/* "$root/etc/resolv.conf" "$root/etc/hostname"

if [ "$ENGINE" = buildah ]; then
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root" / >/dev/null
    buildah commit --quiet --rm "$container" "$tag" >/dev/null
else
    tar -C "$root" -c . | "$ENGINE" import - "$tag" >/dev/null
fi
echo "$tag"
