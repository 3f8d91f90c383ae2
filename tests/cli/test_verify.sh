#!/bin/sh
# `inlay verify` and `inlay dump`: verdicts, reasons, exit codes, and one error for what is no usable object.
set -u
inlay=$INLAY_BUILD/src/inlay
good=$INLAY_BUILD/tests/cli/client.bpf.o
bad=$INLAY_BUILD/tests/cli/reject.bpf.o
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export INLAY_REGISTRY="$work/registry"
number=0
failed=0
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; fi
}
one_error() { # COMMAND...: exit status 1, one line on stderr, nothing else
	"$@" >"$work/out" 2>"$work/err"
	[ $? -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ] && [ ! -s "$work/out" ]
}

"$inlay" verify "$good" >"$work/out" 2>&1
[ $? -eq 0 ] && grep -qE '^filter +accepted +[1-9][0-9]* insns' "$work/out" && [ "$(wc -l <"$work/out")" -eq 1 ]
check accepted_program_is_one_line $?

"$inlay" verify "$bad" >"$work/out" 2>&1
[ $? -eq 1 ]
check rejected_program_fails $?
grep -qE '^good +accepted' "$work/out"
check accepted_among_rejected_is_told $?
for program in null_value out_of_bounds wrong_argument uninit_stack; do
	grep -qE "^$program +rejected" "$work/out" && grep -A 3 "^$program" "$work/out" | grep -q '^  insn '
	check "${program}_is_rejected_with_a_reason" $?
done
grep -q "R0 invalid mem access 'map_value_or_null'" "$work/out"
check log_has_the_kernels_words $?
grep -A 3 '^uninit_stack' "$work/out" | grep -q 'bytes of the stack are read that were never written'
check unwritten_stack_is_told $?

# Global functions are proved by their prototypes alone, and so are their callers.
"$inlay" verify "$INLAY_BUILD/tests/cli/global.bpf.o" >"$work/out" 2>&1
grep -qE '^accepted +accepted' "$work/out"
check global_function_right_for_any_arguments $?
grep -q '^null_not_checked .*rejected' "$work/out" && grep -q "R1 invalid mem access 'mem_or_null'" "$work/out"
check global_function_wrong_for_null $?
grep -q '^too_little_memory .*rejected' "$work/out" && grep -q "Caller passes invalid args into func#1 ('sum')" "$work/out"
check caller_passes_too_little_memory $?
grep -q '^result_believed .*rejected' "$work/out" && grep -q 'R1 unbounded memory access' "$work/out"
check result_is_any_number $?

"$inlay" verify "$good" --log 2 | grep -qE '^0: '
check log_level_2_shows_instructions $?
"$inlay" verify "$bad" --json >"$work/json"
[ $? -eq 1 ] && python3 - "$work/json" <<'EOF'
import json, sys
programs = {p["name"]: p for p in json.load(open(sys.argv[1]))["programs"]}
assert len(programs) == 5, programs.keys()
assert programs["good"]["verdict"] == "accepted" and programs["good"]["insns_processed"] > 5
assert programs["null_value"]["verdict"] == "rejected" and programs["null_value"]["reason"]
assert programs["null_value"]["errno"] == 13
EOF
check json_is_a_document $?

one_error "$inlay" verify "$work/nothing"
check missing_object_is_one_error $?
head -c 600 "$good" >"$work/cut.o"
one_error "$inlay" verify "$work/cut.o"
check corrupt_object_is_one_error $?
one_error "$inlay" verify "$inlay"
check other_machine_is_one_error $?
echo hello >"$work/text.o"
one_error "$inlay" verify "$work/text.o"
check text_is_one_error $?
one_error "$inlay" dump "$good" nothing xlated
check missing_program_is_one_error $?
one_error "$inlay" dump "$bad" null_value xlated
check dump_of_a_rejected_program_is_one_error $?

"$inlay" dump "$good" filter xlated >"$work/out" && grep -q 'exit' "$work/out" && grep -q 'call' "$work/out"
check xlated_is_shown $?
"$inlay" dump "$good" filter jited >"$work/out" && grep -q 'ret' "$work/out"
check jited_is_shown $?
"$inlay" dump "$good" filter jited --json | python3 -c 'import json, sys; assert len(json.load(sys.stdin)["insns"]) > 10'
check dump_json_is_a_document $?
"$inlay" dump "$good" filter neither >/dev/null 2>&1
[ $? -eq 2 ]
check unknown_kind_is_usage $?
echo "1..$number"
exit $failed
