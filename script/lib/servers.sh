# shellcheck shell=bash
# servers.sh: the servers that tests talk to. They are unpacked into a cache outside the tree and never installed:
# an installed server would start by itself and take its usual port. Meant to be sourced by bash after fetch.sh.

server_cache=${XDG_CACHE_HOME:-$HOME/.cache}/dsync

# What each server is called in Debian, and which releases carry the wanted version (the first that has it is taken).
_server_recipe() {
    case $1 in
        etcd-3.4) echo "bookworm:etcd-server etcd-client" ;;
        etcd-3.5) echo "trixie forky:etcd-server etcd-client" ;;
        consul-1.8) echo "bullseye:consul" ;;
        *) return 1 ;;
    esac
}

_server_version() {
    "$1" --version 2>/dev/null | sed -n 's/^etcd Version: \([0-9]*\.[0-9]*\).*/etcd-\1/p; s/^Consul v\([0-9]*\.[0-9]*\).*/consul-\1/p'
}

# server_path NAME: the folder with its programs; fails when it is not on this machine.
server_path() {
    local folder program=${1%-*}
    for folder in "$server_cache/$1/usr/bin" /usr/bin /usr/local/bin; do
        if [ -x "$folder/$program" ] && [ "$(_server_version "$folder/$program")" = "$1" ]; then
            echo "$folder"
            return 0
        fi
    done
    return 1
}

# ensure_server NAME: makes it available, downloading it at most once. Fails when it cannot be had.
ensure_server() {
    local recipe
    server_path "$1" >/dev/null && return 0
    recipe=$(_server_recipe "$1") || return 1
    echo "fetching $1"
    # shellcheck disable=SC2086
    fetch_packages "$server_cache/$1" "${recipe%%:*}" ${recipe#*:} && server_path "$1" >/dev/null
}
