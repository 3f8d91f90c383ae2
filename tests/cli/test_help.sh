#!/bin/sh
# Every verb has help with examples, a manual page, and completion; wrong command lines exit 2 with one line.
set -u
inlay=$INLAY_BUILD/src/inlay
number=0
failed=0
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; fi
}

"$inlay" --help >/tmp/inlay-help.$$ 2>&1
check overview_exits_0 $?
verbs=$(sed -n 's/^  \([a-z]*\)  *[A-Za-z].*/\1/p' /tmp/inlay-help.$$ | grep -v '^inlay$')
rm -f /tmp/inlay-help.$$
[ "$(echo "$verbs" | wc -w)" -ge 6 ]
check overview_names_the_verbs $?

for verb in $verbs; do
	help=$("$inlay" "$verb" --help) && echo "$help" | grep -q "^usage: inlay $verb" && echo "$help" | grep -q '^example'
	check "${verb}_help_has_usage_and_examples" $?
	[ -s "$INLAY_SOURCE/docs/man/inlay-$verb.1" ]
	check "${verb}_has_a_manual_page" $?
	grep -q "$verb" "$INLAY_SOURCE/completions/inlay.bash" && grep -q "$verb" "$INLAY_SOURCE/completions/_inlay"
	check "${verb}_is_completed" $?
done

"$inlay" >/dev/null 2>&1
[ $? -eq 2 ]
check no_verb_is_usage $?
message=$("$inlay" frobnicate 2>&1 >/dev/null)
[ $? -eq 2 ] && [ "$(echo "$message" | wc -l)" -eq 1 ] && echo "$message" | grep -q frobnicate
check unknown_verb_is_named $?
for verb in attach list run verify dump; do
	message=$("$inlay" $verb 2>&1 >/dev/null </dev/null)
	[ $? -eq 2 ] && [ "$(echo "$message" | wc -l)" -eq 1 ]
	check "${verb}_without_arguments_is_usage" $?
	message=$("$inlay" $verb --no-such-option 2>&1 >/dev/null </dev/null)
	[ $? -eq 2 ] && echo "$message" | grep -q no-such-option
	check "${verb}_names_a_wrong_option" $?
done
"$inlay" --version | grep -q '^inlay [0-9]'
check version $?
echo "1..$number"
exit $failed
