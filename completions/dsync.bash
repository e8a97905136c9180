# bash completion for dsync                                                                    -*- shell-script -*-

_dsync() {
    local cur prev words cword
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}

    local where="--url --prefix --region --id --user --token-file --tls-ca --tls-cert --tls-key --tls-server-name
        --option --help"
    local take="--ttl --value --key --wait --try --not-acquired-code --json"
    local child="--on-lost --kill-after --foreground --shell"
    local options
    case ${COMP_WORDS[1]-} in
        run) options="$take $child" ;;
        elect) options="$take $child --forever --namespace" ;;
        hold) options="$take" ;;
        leader | members) options="--namespace --json" ;;
        locks) options="--json" ;;
        watch) options="--namespace --count --json" ;;
        status) options="--key --quiet --json" ;;
        break) options="--token --key --json" ;;
        doctor) options="--ttl --json" ;;
        bench) options="--seconds --ttl --name --json" ;;
    esac

    if [ "$COMP_CWORD" -eq 1 ]; then
        # shellcheck disable=SC2207
        COMPREPLY=($(compgen -W "run elect hold leader members locks watch status break doctor bench help
            --help --version" -- "$cur"))
        return
    fi

    # Behind NAME, what follows belongs to the command that is run.
    case ${COMP_WORDS[1]} in
        run | elect)
            local at=2
            while [ "$at" -lt "$COMP_CWORD" ]; do
                case ${COMP_WORDS[at]} in
                    --ttl | --value | --key | --on-lost | --kill-after | --not-acquired-code | -E | --shell | -c | \
                        --namespace | --url | --prefix | --region | --id | --user | --token-file | --tls-* | \
                        --option | -o) at=$((at + 2)) ;;
                    --) at=$((at + 1)) && break ;;
                    # bash splits --wait=5 into three words
                    = | -*) at=$((at + 1)) && [ "${COMP_WORDS[at]-}" = = ] && at=$((at + 2)) ;;
                    *) break ;;
                esac
            done
            if [ "$at" -lt "$COMP_CWORD" ]; then
                if declare -F _command_offset >/dev/null; then
                    at=$((at + 1))
                    [ "${COMP_WORDS[at]}" = -- ] && at=$((at + 1))
                    _command_offset "$at"
                else
                    # shellcheck disable=SC2207
                    COMPREPLY=($(compgen -c -- "$cur"))
                fi
                return
            fi
            ;;
        help)
            # shellcheck disable=SC2207
            COMPREPLY=($(compgen -W "run elect hold leader members locks watch status break doctor bench" -- "$cur"))
            return
            ;;
    esac

    case $prev in
        --token-file | --tls-ca | --tls-cert | --tls-key)
            # shellcheck disable=SC2207
            COMPREPLY=($(compgen -f -- "$cur"))
            compopt -o filenames 2>/dev/null
            ;;
        --on-lost)
            # shellcheck disable=SC2207
            COMPREPLY=($(compgen -W "term kill ignore" -- "$cur"))
            ;;
        --url)
            # shellcheck disable=SC2207
            COMPREPLY=($(compgen -W "etcd:// etcds:// consul:// consuls:// zookeeper:// local:" -- "$cur"))
            compopt -o nospace 2>/dev/null
            ;;
        *)
            # shellcheck disable=SC2207
            case $cur in
                -*) COMPREPLY=($(compgen -W "$options $where" -- "$cur")) ;;
            esac
            ;;
    esac
}

complete -F _dsync dsync
