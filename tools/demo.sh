#!/bin/sh
# The main job, shown: a live redis-server under load, traced by verified BPF, and what that cost.
#
# usage: tools/demo.sh [BUILD]         default: build. Needs redis-server and redis-benchmark.
# Starts a server of its own on a free loopback port and ends it. The figures go to BUILD/demo.jsonl as well.
# DEMO_SECONDS (5): how long each trace runs. DEMO_ROUNDS (5): rounds of the cost table. DEMO_REQUESTS (2000000): requests a round.
set -u

build=${1:-build}
seconds=${DEMO_SECONDS:-5}
rounds=${DEMO_ROUNDS:-5}
requests=${DEMO_REQUESTS:-2000000}
inlay=$build/src/inlay
examples=$build/examples
figures=$build/demo.jsonl
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

for program in redis-server redis-benchmark redis-cli; do
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

# Requests per second of one run.
measure() {
	benchmark -t get -P 16 -c 50 -r 100000 -n "$requests" -q 2>/dev/null | tr '\r' '\n' |
		sed -n 's/^GET: \([0-9.]*\) requests per second.*/\1/p' | tail -n 1
}

# Waits until the file has a line that begins with "attached"; gives up when the process is gone.
wait_attached() {
	for wait in $(seq 200); do
		grep -q "^attached" "$2" 2>/dev/null && return 0
		kill -0 "$1" 2>/dev/null || return 1
		sleep 0.05
	done
	return 1
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

# One round of one variant: appends to $work/VARIANT. Returns 77 where the machine does not offer it.
run_variant() {
	case $1 in
	untraced)
		measure >>"$work/untraced"
		return
		;;
	inlay)
		"$inlay" attach -p "$server" "$examples/count.bpf.o" >"$work/out" 2>"$work/err" &
		;;
	kernel-uprobe)
		"$examples/kernel-uprobe" "$server" "$examples/count.bpf.o" count processCommand \
			>"$work/out" 2>"$work/err" &
		;;
	esac
	tracer=$!
	background="$background $tracer"
	case $1 in
	inlay) said=$work/err ;;
	*) said=$work/out ;;
	esac
	if ! wait_attached $tracer "$said"; then
		background=
		wait $tracer
		return 77
	fi
	measure >>"$work/$1"
	kill -INT $tracer
	wait $tracer
	background=
	# What it counted: evidence that it was attached throughout.
	tail -n 1 "$work/out" | sed 's/.*[: ]//' >>"$work/$1.counted"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
spread() { sort -n "$1" | awk 'NR == 1 { low = $1 } { high = $1 } END { print high - low }'; }

# A variant's line. Its share of the untraced rate is taken round by round: what else the machine does then hits both.
row() {
	[ -s "$work/$1" ] || return 0
	value=$(median "$work/$1")
	paste "$work/$1" "$work/untraced" | awk 'NF == 2 { printf "%.4f\n", $1 / $2 }' >"$work/ratios"
	ratio=$(median "$work/ratios")
	printf '  %-14s %12.0f %15.3f\n' "$1" "$value" "$ratio"
	printf '{"bench":"demo","variant":"%s","metric":"share-of-untraced","unit":"","value":%s,"spread":%s}\n' \
		"$1" "$ratio" "$(spread "$work/ratios")" >>"$figures"
	printf '{"bench":"demo","variant":"%s","metric":"throughput","unit":"requests/s","value":%s,"spread":%s}\n' \
		"$1" "$value" "$(spread "$work/$1")" >>"$figures"
}

cost() {
	heading "3. What counting processCommand costs ($rounds interleaved rounds of $requests requests, medians)"
	variants="untraced inlay"
	[ "$(id -u)" -eq 0 ] && variants="$variants kernel-uprobe"
	measure >/dev/null # warm
	for round in $(seq "$rounds"); do
		# Who comes first changes from round to round: a drift of the machine favours nobody.
		order=$variants
		[ $((round % 2)) -eq 0 ] && order="inlay untraced ${variants#untraced inlay}"
		for variant in $order; do
			run_variant "$variant" && continue
			[ "$variant" = kernel-uprobe ] || fail "$(cat "$work/err")"
			variants="untraced inlay"
			why=$(head -n 1 "$work/err")
		done
	done
	printf '  %-14s %12s %15s\n' '' requests/s 'of untraced'
	: >"$figures"
	row untraced
	row inlay
	row kernel-uprobe
	[ -s "$work/kernel-uprobe" ] || echo "  (kernel uprobes: ${why:-need root})"
	for variant in inlay kernel-uprobe; do
		[ -s "$work/$variant.counted" ] && awk -v name=$variant -v want="$requests" \
			'$1 < want { bad = 1 } END { exit bad }' "$work/$variant.counted" ||
			{ [ ! -s "$work/$variant.counted" ] || fail "$variant counted less than $requests in a round"; }
	done
	echo "  (also in $figures)"
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
