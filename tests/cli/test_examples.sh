#!/bin/sh
# The examples that make tail calls: a parser of nested protocols under `inlay run`, a dispatcher of system calls in a target.
set -u
inlay=$INLAY_BUILD/src/inlay
work=$(mktemp -d) || exit 1
chmod 700 "$work"
export INLAY_REGISTRY="$work/registry"
number=0
failed=0
victim=
trap 'kill $victim 2>/dev/null; rm -rf "$work"' EXIT
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; fi
}
skip() { # NAME REASON
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

protocols=$INLAY_BUILD/tests/cli/protocols
object=$INLAY_BUILD/examples/protocols.bpf.o
if nm -D "$INLAY_BUILD/src/libinlay-preload.so" 2>/dev/null | grep -qE '__(asan|tsan)_init'; then
	skip protocols "a sanitized preload library cannot be loaded into programs"
else
"$inlay" run -- "$protocols" "$object" >"$work/ours" 2>"$work/errors"
check nested_protocols_are_parsed $?
cat >"$work/expected" <<EOF
e4t: protocol 0x6 behind 2 headers, 1
e6u: protocol 0x11 behind 2 headers, 1
ev4u: protocol 0x11 behind 3 headers, 1
evv6t: protocol 0x6 behind 4 headers, 1
e44t: protocol 0x6 behind 3 headers, 1
e46u: protocol 0x11 behind 3 headers, 1
e4g4t: protocol 0x6 behind 4 headers, 1
e6k6g4u: protocol 0x11 behind 6 headers, 1
ev4kvv4u: protocol 0x11 behind 7 headers, 1
e4f: protocol 0x800 behind 2 headers, 1
e: protocol 0x88b5 behind 1 headers, 1
e4444444444444444444444444444444444444444u: protocol 0x4 behind 34 headers, 1
EOF
cmp -s "$work/ours" "$work/expected"
check each_packet_is_what_it_is $?
sed 's/^/# /' "$work/errors"
[ $failed -eq 0 ] || diff "$work/ours" "$work/expected" | sed 's/^/# /'
if "$protocols" "$object" >"$work/kernel" 2>/dev/null; then
	cmp -s "$work/ours" "$work/kernel"
	check the_kernel_finds_the_same $?
else
	skip the_kernel_finds_the_same "the kernel's bpf(2) may not be used here"
fi
fi

"$INLAY_BUILD/tests/victims/syscalls" &
victim=$!
sleep 0.2
if "$inlay" attach -p $victim --duration 0.5 --json "$INLAY_BUILD/examples/syscalls.bpf.o" >"$work/asked" 2>"$work/errors"; then
	python3 - "$work/asked" <<-'EOF'
		import json, sys
		asked = {row["key"]: row["value"] for row in json.load(open(sys.argv[1]))["maps"]["asked"]}
		read, written, getpids, others = (asked[key] for key in range(4))
		print(f"# read {read}, written {written}, getpid {getpids}, others {others}")
		calls = [read / 7, written / 100, getpids, others]
		# Attached and detached in the middle of a round.
		sys.exit(not (min(calls) > 100 and max(calls) - min(calls) <= 1))
	EOF
	check system_calls_are_dispatched_by_number $?
else
	check system_calls_are_dispatched_by_number 1
	sed 's/^/# /' "$work/errors"
fi
kill -0 $victim
check the_target_goes_on $?
echo "1..$number"
exit $failed
