# shellcheck shell=bash
# fetch.sh: unpacks programs of Debian releases other than the one installed, without installing them.
#
# fetch_packages DEST SUITES PACKAGE... gets the packages from the first of the SUITES ("trixie forky") that has them all
# and unpacks them below DEST; the suite is noted in DEST/.suite. The mirror is whatever this machine's own apt is
# configured with; nothing of the machine's apt state is read or changed beyond that, and no root is needed.
# Meant to be sourced by bash. Says nothing on standard output; the caller says what is missing.

# The repositories that apt uses here, one "URI keyring" per line, main archives before security ones.
_fetch_mirrors() {
    apt-get indextargets --format '$(REPO_URI) $(SIGNED_BY)' 'Created-By: Packages' 2>/dev/null |
        awk '{ if ($2 !~ /^\//) $2 = "-"; if (!seen[$1]++) print $1, $2 }' |
        awk '/security/ { late = late $0 "\n"; next } { print } END { printf "%s", late }'
}

# The keyring that signs every Debian release; a repository's own one may know the present release only.
_fetch_keyring() {
    local named=$1 known=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ -r "$known" ]; then
        printf '%s' "$known"
    elif [ "$named" != - ]; then
        printf '%s' "$named"
    fi
}

# apt-get with a folder of its own for everything it keeps.
_fetch_apt() {
    local home=$1
    shift
    timeout 180 apt-get -qq \
        -o Dir::State="$home/state" -o Dir::State::status="$home/status" -o Dir::Cache="$home/cache" \
        -o Dir::Etc::sourcelist="$home/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

# One try: mirror, keyring, suite.
_fetch_from() {
    local uri=$1 keyring=$2 suite=$3 dest=$4
    shift 4
    local home deb
    home=$(mktemp -d "${TMPDIR:-/tmp}/dsync-fetch.XXXXXX") || return 1
    mkdir -p "$home/state/lists/partial" "$home/cache/archives/partial" "$home/debs" "$home/root"
    : >"$home/status"
    printf 'deb [%s] %s %s main\n' "${keyring:+signed-by=$keyring}" "$uri" "$suite" | sed 's/ \[\]//' >"$home/sources.list"
    if _fetch_apt "$home" update && (cd "$home/debs" && _fetch_apt "$home" download "$@"); then
        for deb in "$home"/debs/*.deb; do
            dpkg -x "$deb" "$home/root" || { rm -rf "$home"; return 1; }
        done
        rm -rf "$home/root/usr/share"
        printf '%s\n' "$suite" >"$home/root/.suite"
        # An unpacked tree appears whole or not at all: two runs at once must not see half of one.
        rm -rf "$dest" && mkdir -p "$(dirname "$dest")" && cp -a "$home/root" "$dest.$$" && mv -T "$dest.$$" "$dest"
        local status=$?
        rm -rf "$home"
        return "$status"
    fi
    rm -rf "$home"
    return 1
}

fetch_packages() {
    local dest=$1 suites=$2 suite uri named
    shift 2
    if [ -e "$dest/.suite" ]; then
        return 0
    fi
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    for suite in $suites; do
        while read -r uri named; do
            case $uri in *-security/ | *-security) continue ;; esac
            _fetch_from "$uri" "$(_fetch_keyring "$named")" "$suite" "$dest" "$@" >&2 && return 0
        done < <(_fetch_mirrors)
    done
    return 1
}
