#!/bin/sh
# The model of tail calls and their updates (tail_call.pml): what must not happen is unreachable, and every broken variant of the
# protocol reaches it.
set -u
model=$INLAY_SOURCE/tests/model/tail_call.pml
number=0
failed=0

if ! command -v spin >/dev/null; then
	echo "1..0 # SKIP spin is not installed"
	exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# NAME WHAT DEFINES... : explores all states; what is found: nothing, a thread unwound with nowhere to go, a freed program run
explore() {
	name=$1
	expected=$2
	shift 2
	number=$((number + 1))
	mkdir "$work/$name"
	(
		cd "$work/$name" || exit 1
		spin -a "$@" "$model" >spin.log 2>&1 && cc -w -DSAFETY -o pan pan.c && ./pan -m100000 >pan.log 2>&1
	)
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$work/$name/pan.log")
	states=$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' "$work/$name/pan.log")
	found=nothing
	grep -q 'assertion violated (to!=0)' "$work/$name/pan.log" && found=unwound
	grep -q 'assertion violated live' "$work/$name/pan.log" && found=freed
	echo "# $name: ${states:-no} states, ${errors:-no} errors: $found"
	# A search that was cut short, or did not run, shows nothing.
	if [ -n "$errors" ] && [ $found = "$expected" ] && ! grep -q 'max search depth too small' "$work/$name/pan.log"; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		sed 's/^/# /' "$work/$name/spin.log" "$work/$name/pan.log"
		failed=1
	fi
}

explore protocol_is_safe nothing
explore protocol_is_safe_with_two_direct_readers nothing -DTWO_DIRECT
explore swapped_pokes_of_an_install_are_found unwound -DSWAP
explore swapped_pokes_of_a_removal_are_found unwound -DSWAP_REMOVE
explore missing_grace_period_of_a_removal_is_found unwound -DNO_GRACE
explore missing_sync_core_is_found unwound -DNO_SYNC
explore freeing_a_replaced_program_early_is_found freed -DEARLY_FREE
echo "1..$number"
exit $failed
