# shellcheck shell=bash
# steps.sh: runs test commands some at a time and sums up what they counted. Meant to be sourced by bash.
#
#   begin_steps FOLDER; [excuse_stalls;] step NAME LIMIT_SECONDS COMMAND...; skip NAME WHY; end_steps
#
# end_steps prints the last line, "N passed, N failed" (and ", N skipped"), and fails when anything failed or when a
# process is left behind. JOBS is how many run at once.

begin_steps() {
    step_folder=$1
    steps_at_once=${JOBS:-3}
    steps_skipped=0
    rm -rf "$step_folder"
    mkdir -p "$step_folder"
    step_watch=
    # Found again in the environment of whatever these tests should leave behind.
    export DSYNC_TEST_RUN=$$.$RANDOM$RANDOM
    trap _abandon_steps TERM INT HUP
}

# A step that fails while a processor stands still runs once more; end_steps shows what it had said. Not for steps that
# look for what happens once in a while.
excuse_stalls() {
    (
        unset DSYNC_TEST_RUN # this is no test's
        exec setpriv --pdeathsig TERM "${BASH_SOURCE[0]%/*}/stalls" "$step_folder/stalls"
    ) 2>/dev/null &
    step_watch=$!
    disown "$step_watch" # nor a step
}

_abandon_steps() {
    trap '' TERM INT HUP
    # shellcheck disable=SC2046
    kill -TERM $(jobs -p) 2>/dev/null
    wait
    exit 143
}

step() {
    while [ "$(jobs -rp | wc -l)" -ge "$steps_at_once" ]; do
        wait -n
    done
    setpriv --pdeathsig TERM script/lib/job "$step_folder" "$@" &
}

# Loud, and counted on the last line.
skip() {
    printf '%-36s SKIPPED: %s\n' "$1" "$2"
    steps_skipped=$((steps_skipped + 1))
}

# One line for each process that a step left running.
_steps_left() {
    local environment pid
    for environment in /proc/[0-9]*/environ; do
        if tr '\0' '\n' 2>/dev/null <"$environment" | grep -qx "DSYNC_TEST_RUN=$DSYNC_TEST_RUN"; then
            pid=${environment//[!0-9]/}
            printf '%s %s\n' "$pid" "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | cut -c 1-100)"
        fi
    done 2>/dev/null
}

end_steps() {
    local passed=0 failed=0 left result first p f s try
    wait
    [ -n "$step_watch" ] && kill "$step_watch"
    # What cleans up behind a step that has just ended may take a moment.
    for try in 1 2 3 4 5; do
        left=$(_steps_left)
        [ -z "$left" ] && break
        sleep "$try"
    done
    if [ -n "$left" ]; then
        printf 'processes left behind:\n%s\n' "$left"
        failed=1
    fi
    for first in "$step_folder"/*.first.log; do
        [ -e "$first" ] || continue
        printf -- '---- run again: the end of %s\n' "$first"
        tail -n 20 "$first" | cut -c 1-300
    done
    for result in "$step_folder"/*.result; do
        read -r p f s <"$result"
        if [ "$f" -gt 0 ]; then
            printf -- '---- the end of %s\n' "${result%.result}.log"
            tail -n 40 "${result%.result}.log" | cut -c 1-300
        fi
        passed=$((passed + p)) failed=$((failed + f)) steps_skipped=$((steps_skipped + s))
    done
    if [ "$steps_skipped" -gt 0 ]; then
        printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$steps_skipped"
    else
        printf '%d passed, %d failed\n' "$passed" "$failed"
    fi
    [ "$failed" -eq 0 ]
}
