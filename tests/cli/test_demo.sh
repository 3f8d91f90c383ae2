#!/bin/sh
# The demo, made short: it shows what it promises and leaves nothing running.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failed=0
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		sed 's/^/# /' "$work/out"
		failed=1
	fi
}

if ! command -v redis-server >/dev/null || ! command -v redis-benchmark >/dev/null; then
	echo "ok 1 - demo # SKIP redis-server is not installed"
	echo 1..1
	exit 0
fi
# The figures belong to a real demo: a build folder of links keeps them apart.
mkdir "$work/build"
ln -s "$INLAY_BUILD/src" "$INLAY_BUILD/examples" "$work/build/"
# A sanitized loader takes longer to attach and to read its maps than the load lives.
seconds=1
grep -q __asan_init "$INLAY_BUILD/src/inlay" && seconds=5
DEMO_SECONDS=$seconds DEMO_ROUNDS=1 DEMO_PAIRS=2 DEMO_WINDOW=0.1 sh "$INLAY_SOURCE/tools/demo.sh" "$work/build" >"$work/out" 2>&1
check exits_0 $?
[ "$(grep -c '^  @hot_keys\[.*\]: [1-9]' "$work/out")" -eq 10 ] &&
	grep '^  @hot_keys' "$work/out" | tail -n 1 | grep -q 'user:alice'
check hottest_keys $?
grep -q '^  @latency_hist:' "$work/out" && grep -q '^  \[.*) *[1-9][0-9]* |@@@*.*|$' "$work/out"
check latency_histogram $?
grep -q '^  untraced  *[0-9]*  *1\.000  *[0-9]*$' "$work/out" &&
	grep -q '^  inlay  *[0-9]*  *[0-9.]*  *[0-9]*$' "$work/out"
check cost_table $?
grep -q '"variant":"inlay","metric":"throughput"' "$work/build/demo.jsonl"
check figures_as_json_lines $?
server=$(sed -n '1s/.*process \([0-9]*\),.*/\1/p' "$work/out")
[ -n "$server" ] && ! kill -0 "$server" 2>/dev/null
check the_server_is_gone $?
echo "1..$number"
exit $failed
