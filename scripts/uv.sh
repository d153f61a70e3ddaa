# Sets UV to a uv that runs; installs one into .tools/ where there is none.
# Sourced by setup.sh and lock.sh, from the repository's root.
UV_VERSION=0.13.9

find_uv() {
    UV=$(command -v uv || true)
    [ -n "$UV" ] && return
    UV=$PWD/.tools/bin/uv
    [ -x "$UV" ] && return
    echo "Installing uv $UV_VERSION into .tools/ ..."
    # --target: also where pip refuses to touch the system's packages.
    if ! python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        --target .tools "uv==$UV_VERSION"; then
        echo "uv could not be installed with 'python3 -m pip'." >&2
        echo "Install uv yourself, then run the same command again." >&2
        exit 1
    fi
}
