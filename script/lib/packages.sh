# shellcheck shell=bash
# packages.sh: what the build, the tests and the demo need of Debian, and how to get it. Meant to be sourced by bash.
# "a|b": either will do; the first is what gets installed.

packages_build="make gcc libc6-dev pkg-config|pkgconf libcurl4-openssl-dev libcjson-dev
  libsqlite3-dev libnghttp2-dev lua5.4 liblua5.4-dev"
packages_test="$packages_build
  lua5.1 liblua5.1-0-dev lua5.3 liblua5.3-dev luajit2|luajit libluajit2-5.1-dev|libluajit-5.1-dev
  lua-busted lua-check lua-socket lua-cqueues lua-luv lua-copas nginx-light|nginx libnginx-mod-http-lua
  luarocks clang-format clang-tidy openssl ca-certificates python3 groff-base iproute2 iptables
  libzookeeper-st-dev zookeeper python3-kazoo"

_package_installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]
}

_package_any_installed() {
    local one
    for one in ${1//|/ }; do
        _package_installed "$one" && return 0
    done
    return 1
}

# How to run something as root here: prints "", "sudo -n" or "sudo"; fails when there is no way.
_package_root() {
    if [ "$(id -u)" -eq 0 ]; then
        echo ""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo "sudo -n"
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        echo "sudo"
    else
        return 1
    fi
}

# Runs a command, as root, while newly installed servers do not start by themselves (as nginx would, on port 80).
_package_quietly='
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap "rm -f $policy" EXIT
        trap "exit 130" INT TERM HUP
        printf "#!/bin/sh\nexit 101\n" >"$policy" && chmod 755 "$policy"
    fi
    "$@"'

# ensure_packages LOG PACKAGE...: installs what is missing. Without network when nothing is.
ensure_packages() {
    local log=$1 missing=() one root
    shift
    if ! command -v dpkg-query >/dev/null; then
        echo "This is not a Debian system; make sure that these are installed: $*" >&2
        return 0
    fi
    for one in "$@"; do
        _package_any_installed "$one" || missing+=("${one%%|*}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! root=$(_package_root); then
        printf 'Missing packages, and neither root nor sudo to install them. Run this first:\n  apt-get install %s\n' \
            "${missing[*]}" >&2
        return 1
    fi
    echo "installing ${#missing[@]} packages: ${missing[*]}"
    local install=($root sh -c "$_package_quietly" sh env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2
        -o Dpkg::Use-Pty=0)
    # The lists of a fresh machine are empty, those of an old one out of date: ask for new ones only when needed.
    if ! "${install[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        if ! { "${install[@]}" update && "${install[@]}" install -y --no-install-recommends "${missing[@]}"; } >>"$log" 2>&1; then
            printf 'Could not install %s:\n' "${missing[*]}" >&2
            tail -n 20 "$log" >&2
            return 1
        fi
    fi
}
