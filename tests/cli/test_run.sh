#!/bin/sh
# `inlay run`: unmodified clients, other processes' objects, and no bpf(2) that reaches the kernel.
set -u
inlay=$INLAY_BUILD/src/inlay
work=$(mktemp -d) || exit 1
chmod 700 "$work"
export INLAY_REGISTRY="$work/registry"
number=0
failed=0
holder=
trap 'kill $holder 2>/dev/null; rm -rf "$work"' EXIT
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; fi
}
skip() { # NAME REASON
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

if nm -D "$INLAY_BUILD/src/libinlay-preload.so" 2>/dev/null | grep -qE '__(asan|tsan)_init'; then
	echo "1..0 # SKIP a library with a sanitizer cannot be put in front of programs without"
	exit 0
fi
bpftool=$(command -v bpftool || ls /usr/sbin/bpftool 2>/dev/null)
client=$INLAY_BUILD/tests/cli/client
object=$INLAY_BUILD/tests/cli/client.bpf.o

"$inlay" run -- true
check command_runs $?
"$inlay" run -- sh -c 'exit 7'
[ $? -eq 7 ]
check exit_status_is_the_commands $?
message=$("$inlay" run -- "$work/nothing" 2>&1)
[ $? -eq 1 ] && [ "$(echo "$message" | wc -l)" -eq 1 ]
check missing_command_is_one_error $?

"$inlay" run -- "$client" "$object" >"$work/out" 2>&1 &
holder=$!
for i in $(seq 100); do grep -q '^ready' "$work/out" && break; sleep 0.1; done
grep -q '^run 0 returned 9$' "$work/out"
check libbpf_client_loads_and_test_runs $?
grep -q '^records 5$' "$work/out"
check ring_buffer_is_polled_and_read $?
grep -q '^total 5$' "$work/out"
check mapped_global_is_read $?

if [ -n "$bpftool" ]; then
	"$inlay" run -- "$bpftool" prog list >"$work/list"
	grep -q 'socket_filter  name filter' "$work/list"
	check bpftool_lists_the_others_program $?
	"$inlay" run -- "$bpftool" map dump name points >"$work/dump"
	grep -q '"x": 1' "$work/dump" && grep -q '"y": 4' "$work/dump"
	check bpftool_dumps_the_others_map_with_btf $?
	id=$(sed -n 's/^\([0-9]*\): socket_filter  name filter.*/\1/p' "$work/list")
	"$inlay" run -- "$bpftool" prog dump xlated id "$id" | grep -q 'map\[id:'
	check bpftool_dumps_the_others_instructions $?
	"$inlay" run -- "$bpftool" btf dump id "$("$inlay" run -- "$bpftool" btf list | sed -n 's/:.*//p' | head -n 1)" |
		grep -q "STRUCT 'point'"
	check bpftool_dumps_the_others_btf $?
	key="0 0 0 0"
	"$inlay" run -- "$bpftool" map update name counts key $key value 42 0 0 0 0 0 0 0 &&
		"$inlay" run -- "$bpftool" map lookup name counts key $key | grep -q '42'
	check bpftool_updates_the_others_map $?
else
	skip bpftool_lists_the_others_program "no bpftool"
fi

kill -9 $holder
wait $holder 2>/dev/null
if [ -n "$bpftool" ]; then
	[ -z "$("$inlay" run -- "$bpftool" prog list)" ] && [ -z "$("$inlay" run -- "$bpftool" map list)" ]
	check objects_of_the_killed_are_gone $?
fi

if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
	strace -f -o "$work/trace" -e trace=bpf,perf_event_open "$inlay" run -- "$client" "$object" once >/dev/null 2>&1
	[ $? -eq 0 ] && ! grep -qE '(bpf|perf_event_open)\(' "$work/trace"
	check nothing_of_a_client_reaches_the_kernel $?
	if [ -n "$bpftool" ]; then
		mode=$([ "$(id -u)" -eq 0 ] || echo unprivileged)
		strace -f -o "$work/trace" -e trace=bpf,perf_event_open "$inlay" run -- "$bpftool" feature probe $mode \
			>"$work/features" 2>&1
		grep -q 'map_type ringbuf is available' "$work/features" && ! grep -qE '(bpf|perf_event_open)\(' "$work/trace"
		check nothing_of_feature_probes_reaches_the_kernel $?
	fi
else
	skip nothing_of_a_client_reaches_the_kernel "no strace, or it may not trace"
fi

if echo 'int main(void) { return 0; }' | cc -static -x c - -o "$work/static" 2>/dev/null; then
	message=$("$inlay" run -- "$work/static" 2>&1)
	[ $? -eq 1 ] && echo "$message" | grep -q static
	check static_command_is_refused $?
else
	skip static_command_is_refused "no static libc to link"
fi

if command -v meson >/dev/null; then
	DESTDIR="$work/root" meson install -C "$INLAY_BUILD" --no-rebuild --quiet >/dev/null 2>&1
	installed=$(find "$work/root" -path '*/bin/inlay')
	[ -x "$installed" ] && "$installed" run -- "$client" "$object" once >"$work/out" 2>&1 && grep -q '^run 0 returned 9$' "$work/out"
	check runs_from_where_it_is_installed $?
else
	skip runs_from_where_it_is_installed "no meson"
fi
echo "1..$number"
exit $failed
