#!/bin/sh
# inlay exec as a bpf_conformance plug-in: the protocol, both engines on the whole suite, and what misuse gets.
set -u
inlay=$INLAY_BUILD/src/inlay
suite=$INLAY_SOURCE/../shared/conformance/conformance.jsonl
number=0
failed=0
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; fi
}
skip() { # NAME REASON
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}
# run NAME PROGRAM WANTED-OUTPUT ARGUMENTS...: the program must print that and exit 0.
run() {
	name=$1 program=$2 want=$3
	shift 3
	got=$(echo "$program" | "$inlay" exec "$@" 2>/dev/null) && [ "$got" = "$want" ]
	check "$name" $?
}
# refuse NAME PROGRAM STATUS PATTERN ARGUMENTS...: one line on stderr that matches, besides the one about verification.
refuse() {
	name=$1 program=$2 status=$3 pattern=$4
	shift 4
	message=$(echo "$program" | "$inlay" exec "$@" 2>&1 >/dev/null)
	[ $? -eq "$status" ] && [ "$(echo "$message" | grep -vc unverified)" -eq 1 ] && echo "$message" | grep -q "$pattern"
	check "$name" $?
}

exit=9500000000000000
run constant "b70000002a000000 $exit" 2a
run blanks_are_tolerated "b7  00  00  00  2a  00  00  00  95  00  00  00  00  00  00  00  " 2a --jit
run memory_is_r1 "7110000000000000 $exit" 7f 7f --interp
run memory_may_come_last "7110000000000000 $exit" 7f --jit 7f
run size_is_r2 "bf20000000000000 $exit" 3 010203
run helper_5_exists "8500000005000000 b700000001000000 $exit" 1
# r0 = data_end - data of the xdp_md
run xdp_context "6112040000000000 6111000000000000 bf20000000000000 1f10000000000000 $exit" 4 --xdp aabbccdd
"$inlay" exec </dev/null >/dev/null 2>&1
[ $? -eq 1 ]
check nothing_on_stdin_fails $?
echo "b700000000000000 $exit" | "$inlay" exec 2>&1 >/dev/null | grep -q unverified
check says_that_it_does_not_verify $?
refuse odd_digits "b70 $exit" 1 'pairs of hex digits'
refuse not_hex "hello" 1 'pairs of hex digits'
refuse half_an_instruction "b7000000" 1 'multiple of 8'
refuse no_exit "b700000000000000" 1 malformed
refuse jump_out "0500640000000000 $exit" 1 malformed
refuse no_such_helper "8500000063050000 $exit" 1 helper
refuse bad_memory "b700000000000000 $exit" 2 MEMORY xyz
refuse two_memories "b700000000000000 $exit" 2 'more than one' 00 11
for engine in --interp --jit; do
	refuse "null_pointer$engine" "b701000000000000 7910000000000000 $exit" 1 'accessed memory' $engine
done
# Call of a subprogram that calls itself: the stack ends, or the interpreter's frames do.
recursion="8510000001000000 $exit 85100000ffffffff $exit"
refuse endless_recursion "$recursion" 1 'accessed memory' --jit
echo "$recursion" | "$inlay" exec --interp >/dev/null 2>&1
[ $? -le 1 ]
check endless_recursion_ends_in_the_interpreter $?

if [ -r "$suite" ]; then
	for engine in --interp --jit; do
		bad=$(sed 's/.*"cpu":\([0-9]\).*"prog":"\([0-9a-f]*\)","mem":"\([0-9a-f]*\)","r0":"0x\([0-9a-f]*\)".*/\1 \2 \4 \3/' "$suite" |
			while read -r cpu program want memory; do
				got=$(echo "$program" | "$inlay" exec $memory $engine 2>/dev/null)
				[ "$got" = "$want" ] || echo "v$cpu:$program"
			done)
		for wrong in $bad; do echo "# $engine $wrong"; done
		[ -z "$bad" ]
		check "conformance_suite$engine" $?
	done
else
	skip conformance_suite "../shared/conformance is not here"
fi
echo "1..$number"
exit $failed
