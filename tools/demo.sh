#!/bin/sh
# The main job, shown: a live redis-server under load, traced by verified BPF, and what that cost.
#
# usage: tools/demo.sh [BUILD]         default: build. Needs redis-server and redis-benchmark.
# Starts a server of its own on a free loopback port and ends it. The figures go to BUILD/demo.jsonl as well.
# DEMO_SECONDS (5): how long each trace runs. What sizes the cost table: tools/demo-cost.py.
set -u

build=${1:-build}
seconds=${DEMO_SECONDS:-5}
inlay=$build/src/inlay
examples=$build/examples
work=$(mktemp -d)
server=
background=

fail() {
	echo "demo: $*" >&2
	exit 1
}

clean_up() {
	for pid in $background $server; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# Server and load on a processor each, where there are two: the scheduler's choices would be most of the noise.
pin_server= pin_load=
if taskset -c 0 true 2>/dev/null && taskset -c 1 true 2>/dev/null; then
	pin_server="taskset -c 0"
	pin_load="taskset -c 1"
fi

for program in redis-server redis-benchmark redis-cli python3; do
	command -v $program >/dev/null || fail "$program is not installed (tools/install-deps.sh check)"
done
[ -x "$inlay" ] || fail "$inlay is not there: build first"

bold=$(tput bold 2>/dev/null || true)
plain=$(tput sgr0 2>/dev/null || true)
[ -t 1 ] || bold= plain=
heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# A command as somebody would type it, then what it printed.
typed() { printf '  $ %s\n\n' "$*"; }

start_server() {
	for try in 1 2 3 4 5 6 7 8 9 10; do
		port=$(awk -v seed="$$$try" 'BEGIN { srand(seed); print 20000 + int(rand() * 30000) }')
		$pin_server redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" \
			>"$work/server.log" 2>&1 &
		server=$!
		for wait in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			sleep 0.1
			kill -0 $server 2>/dev/null || break
			# Ours, not somebody else's on the same port.
			[ "$(redis-cli -p "$port" info server 2>/dev/null | tr -d '\r' |
				sed -n 's/^process_id://p')" = "$server" ] && return 0
		done
		kill $server 2>/dev/null
		wait $server 2>/dev/null
		server=
	done
	fail "redis-server does not start: $(tail -n 1 "$work/server.log")"
}

benchmark() { $pin_load redis-benchmark -h 127.0.0.1 -p "$port" "$@"; }

# In the background, until it is ended. No function in between: what is killed must be the command itself.
start_benchmark() {
	$pin_load redis-benchmark -h 127.0.0.1 -p "$port" -n 1000000000 -q "$@" >/dev/null 2>&1 &
	background="$background $!"
}

start_load() { start_benchmark -t get -P 16 -c 50 -r 100000; }

stop_background() {
	for pid in $background; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	background=
}

hottest_keys() {
	heading "1. The hottest keys, from the arguments of lookupKey ($seconds s)"
	start_load
	clients=4
	for user in alice bob carol; do
		start_benchmark -c $clients get "user:$user"
		clients=$((clients / 2))
	done
	typed "inlay attach -p $server --duration $seconds hot_keys.bpf.o | tail -n 10"
	"$inlay" attach -p "$server" --duration "$seconds" "$examples/hot_keys.bpf.o" \
		>"$work/keys" 2>"$work/keys.err" || fail "$(cat "$work/keys.err")"
	stop_background
	grep '^@' "$work/keys" | tail -n 10 | sed 's/^/  /'
	sed 's/^/  /' "$work/keys.err"
}

latency() {
	heading "2. How long processCommand takes, in ns ($seconds s)"
	start_load
	typed "inlay attach -p $server --duration $seconds latency.bpf.o"
	"$inlay" attach -p "$server" --duration "$seconds" "$examples/latency.bpf.o" \
		>"$work/latency" 2>"$work/latency.err" || fail "$(cat "$work/latency.err")"
	stop_background
	sed -n '/^@latency_hist/,/^$/p' "$work/latency" | sed 's/^/  /'
	sed 's/^/  /' "$work/latency.err"
}

cost() {
	heading "3. What counting processCommand costs (short turns with and without, medians of ${DEMO_ROUNDS:-5} rounds)"
	"$(dirname "$0")/demo-cost.py" "$port" "$server" "$build" || exit 1
}

start_server
echo "redis-server $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), process $server, port $port;" \
	"load: redis-benchmark -t get -P 16 -c 50 -r 100000"
benchmark -t set -P 16 -c 50 -r 100000 -n 400000 -q >/dev/null 2>&1 || fail "redis-benchmark fails"
for user in alice bob carol; do
	redis-cli -p "$port" set "user:$user" "$user's profile" >/dev/null
done
hottest_keys
latency
cost
kill -0 "$server" || fail "the server died"
heading "The server runs on; nothing of inlay is left in it."
