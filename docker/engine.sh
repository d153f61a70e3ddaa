# shellcheck shell=bash disable=SC2034
# Finds what builds and runs images here.  Sourced by build.sh and base.sh.

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}

# Sets ENGINE to docker, podman or buildah: the first that works here.  ENGINE= chooses.
find_engine() {
    local engine
    for engine in ${ENGINE:-docker podman buildah}; do
        # A docker client without its daemon answers `docker info` with an error.
        if "$engine" info >/dev/null 2>&1; then
            ENGINE=$engine
            return
        fi
    done
    fail "nothing that works here builds images (looked for: ${ENGINE:-docker podman buildah}).
On Debian or Ubuntu, as root:
    apt-get install podman buildah runc fuse-overlayfs netavark iptables debootstrap"
}

# Sets ENGINE_OPTIONS, which come before podman's command, LIMITS, for `run`, and
# BUILD_OPTIONS.
engine_options() {
    ENGINE_OPTIONS=() LIMITS=() BUILD_OPTIONS=(--network host)
    [ "$ENGINE" = docker ] && return
    # crun, podman's own choice, fails on some hosts.
    if command -v runc >/dev/null; then
        if [ "$ENGINE" = podman ]; then
            ENGINE_OPTIONS=(--runtime runc)
        else
            BUILD_OPTIONS+=(--runtime runc)
        fi
    fi
    # The limits they ask for by themselves may be above the host's, and are then refused.
    local limit
    for limit in nofile:n nproc:u; do
        local most
        most=$(ulimit "-H${limit#*:}")
        [ "$most" != unlimited ] && [ "$most" -lt 32768 ] || most=32768
        LIMITS+=(--ulimit "${limit%:*}=$most:$most")
    done
    # OCI's own format has no HEALTHCHECK.
    BUILD_OPTIONS+=("${LIMITS[@]}" --format docker)
}
