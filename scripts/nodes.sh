# What scripts that run nodes share; to be sourced by them. They set pyvnode (the program), and work in a directory of
# their own. A node is called by the name of its data directory there.

unset "${!PYVNODE_@}" # settings of whoever runs the script are not for these nodes
declare -A pid=()     # of nodes that run
declare -A runs_in=() # a command in front of a node's own, such as: ip netns exec NAME
declare -A listens=() # where a node listens, when it is not a free port of this machine
declare -A legacy=()  # where a node serves original clients, when it does
patience=${patience:-60}

end_nodes() {
    for p in "${pid[@]}"; do kill "$p" 2>/dev/null || true; done
    wait
}

tell() { printf '\n%s\n' "$*"; }
fail() {
    printf '  FAILED: %s\n' "$*" >&2
    exit 1
}
check() { # check DESCRIPTION GOT WANT
    [ "$2" = "$3" ] || fail "$1 is $2, and should be $3"
    printf '  %s: %s\n' "$1" "$2"
}
# The first value of a name in JSON.
field() { grep -o "\"$1\": *\"\{0,1\}[^\",}]*" | awk 'NR==1' | sed 's/^[^:]*: *"\{0,1\}//' || true; }
json() { "$pyvnode" --quiet --format json --data "$@"; } # json NODE COMMAND…
# The exit code of a command that may fail.
code() { local c=0; "$@" >out.txt 2>err.txt || c=$?; echo "$c"; }

# found NAME OTHER… makes keys, and a network of which all are members and which all join.
found() {
    local name=$1 other members=()
    shift
    for other; do members+=(--member "$(json "$other" identity --create | field origin)"); done
    json "$name" network create --name "$network" --private-kind none "${members[@]}" >/dev/null
    for other; do json "$other" network join "$name/genesis.json" >/dev/null; done
}
# start NODE [OPTION…] runs a node and waits until it listens.
start() {
    local name=$1
    shift
    rm -f "$name.ready"
    # shellcheck disable=SC2086 # a command is several words
    ${runs_in[$name]:-} "$pyvnode" --quiet --format json --data "$name" run \
        --listen "${listens[$name]:-/ip4/127.0.0.1/tcp/0}" --legacy-listen "${legacy[$name]:-off}" "$@" >"$name.ready" 2>>"$name.log" &
    pid[$name]=$!
    within "$name listens" test -s "$name.ready"
}
stop() {
    kill "${pid[$1]}"
    wait "${pid[$1]}" || fail "$1 did not stop in order"
    unset "pid[$1]"
}
address() { sed -n 's/.*"listen":\["\([^"]*\)".*/\1/p' "$1.ready"; }
# within DESCRIPTION COMMAND… waits until a command succeeds.
within() {
    local what=$1 until=$((SECONDS + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || fail "waited $patience s, and not yet: $what"
        sleep 0.1
    done
}
status() { json "$1" status | field "$2"; }
# agree ENTRIES NODE… waits until nodes hold that many undisputed entries under one digest.
agreed() {
    local entries=$1 digest name
    shift
    digest=$(status "$1" digest)
    for name; do
        [ "$(status "$name" entries)" = "$entries" ] && [ "$(status "$name" digest)" = "$digest" ] || return 1
    done
}
agree() {
    within "$* hold the same" agreed "$@"
    printf '  %s entries, and one digest, on %s: %s\n' "$1" "${*:2}" "$(status "$2" digest)"
}
may_write() { [ "$(status "$1" signing)" = ready ]; }
# peers NODE OTHER… writes a node's peer list, and lets it forget others that it remembers.
peers() {
    local name=$1 list=""
    shift
    for other; do list="$list${list:+, }\"$(address "$other")\""; done
    printf '{"peers": [%s]}\n' "$list" >"$name/bootstrap.json"
    rm -f "$name/peers.json"
}
# connected NODE OTHER: the node has the other for a neighbour.
connected() { json "$1" peers | grep -q "\"id\":\"$(json "$2" identity | field origin)\",\"addr\":\"[^\"]*\",\"direction\":\"[io]"; } # others are configured only
# put NODE COUNT stores new records.
put() {
    for i in $(seq "$2"); do
        json "$1" put --kind charity donor="donor $1 $i" amount:="$i" currency=USD >/dev/null || return 1
    done
}
