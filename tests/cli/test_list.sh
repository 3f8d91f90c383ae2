#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# inlay list: names, how each would be entered, and what is said when there is nothing to list.
set -u
inlay=$INLAY_BUILD/src/inlay
victims=$INLAY_BUILD/tests/victims
where=$(mktemp -d)
target=
trap '[ -z "$target" ] || kill "$target" 2>/dev/null; rm -rf "$where"' EXIT
number=0
failed=0
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; fi
}
# refused NAME STATUS WORDS ARGUMENT...: that exit status, nothing on stdout, one line on stderr with the words.
refused() {
	name=$1 want=$2 words=$3
	shift 3
	"$inlay" list "$@" >"$where/out" 2>"$where/err"
	status=$?
	[ "$status" -eq "$want" ] && [ ! -s "$where/out" ] && [ "$(wc -l <"$where/err")" -eq 1 ] &&
		grep -q -- "$words" "$where/err"
	result=$?
	[ "$result" -eq 0 ] || sed "s/^/# exit $status: /" "$where/err" "$where/out"
	check "$name" "$result"
}

cat >"$where/shapes.c" <<'END'
__attribute__((noinline, patchable_function_entry(5))) int padded(int x) { return x * 3; }
__attribute__((noinline)) static int hidden(int x) { return padded(x) + 7; }
__asm__(".globl tiny\n.type tiny, @function\ntiny: ret\n.size tiny, 1\n"
	".globl whole\n.type whole, @function\nwhole: movl $1, %eax\nret\n.size whole, . - whole\n.p2align 4\n"
	".globl looping\n.type looping, @function\nlooping: dec %rdi\ntest %rdi, %rdi\njne looping\nret\n"
	".size looping, . - looping\n.p2align 4\n");
int main(int argc, char **argv) { (void)argv; return hidden(argc); }
END
if ! gcc -O2 -o "$where/shapes" "$where/shapes.c"; then
	echo "1..0 # SKIP no compiler"
	exit 0
fi

"$inlay" list "$where/shapes" >"$where/out" && grep -qx shapes:padded "$where/out" && grep -qx shapes:hidden "$where/out" &&
	grep -qx shapes:main "$where/out"
check names_global_and_local_functions $?
[ "$("$inlay" list "$where/shapes" 'h*en')" = shapes:hidden ]
check glob_of_functions $?
[ "$("$inlay" list "$where/shapes" 'sh*:h*en')" = shapes:hidden ]
check glob_of_file_and_function $?

"$inlay" list -v "$where/shapes" >"$where/out"
grep -q '^shapes:whole .*whole instruction, [a-z]*$' "$where/out"
check verbose_whole_instruction $?
grep -q '^shapes:padded .*relocated, 5 bytes, stop$' "$where/out"
check verbose_relocated $?
grep -q '^shapes:tiny .*no: shorter than 5 bytes and no padding$' "$where/out"
check verbose_too_short $?
grep -q '^shapes:looping .*no: loop head at entry$' "$where/out"
check verbose_loop_head $?

address=$(nm "$where/shapes" | awk '$3 == "padded" { print $1 }')
"$inlay" list --json "$where/shapes" padded | python3 -c "
import json, sys
rows = json.load(sys.stdin)['functions']
assert len(rows) == 1, rows
row = rows[0]
assert row['function'] == 'padded' and row['module'] == 'shapes', row
assert row['address'] == 0x$address and row['entry'] == 'relocated' and row['window'] == 5, row
"
check json_is_json $?

cp "$where/shapes" "$where/stripped" && strip "$where/stripped"
offset=$(objdump -h "$where/shapes" | awk '$2 == ".text" { print $4, $6 }' | { read -r vma file
	printf '0x%x' $((0x$address - 0x$vma + 0x$file)); })
"$inlay" list -a "$where/stripped" | grep -qx "stripped:$offset"
check stripped_files_by_offset $?
"$inlay" list --summary "$where/shapes" | grep -q '^shapes  *[0-9]'
check summary_is_a_table $?

cp /bin/sleep "$where/sleeper"
"$where/sleeper" 60 &
target=$!
sleep 0.2
rm "$where/sleeper"
"$inlay" list -p "$target" >"$where/out" && grep -q '^libc.so.6:malloc$' "$where/out"
check process_files_are_listed $?
"$inlay" list -p "$target" -a 'exe:' | grep -q '^sleeper:0x'
check deleted_executable_is_listed $?
"$inlay" list -p "$target" 'libc:malloc' | grep -qx 'libc.so.6:malloc'
check files_by_their_short_name $?
base=$(awk '/libc.so.6/ { split($1, a, "-"); print a[1]; exit }' "/proc/$target/maps")
offset=$(nm -D /lib/x86_64-linux-gnu/libc.so.6 2>/dev/null | awk '$3 ~ /^malloc@@/ { print $1 }')
if [ -n "$offset" ]; then
	want=$(printf '0x%012x' $((0x$base + 0x$offset)))
	"$inlay" list -p "$target" -v 'libc.so.6:malloc' | grep -q "$want"
	check addresses_are_the_process_s $?
	"$inlay" list -p "$target" -v 'libc.so.6:strlen' | grep -q '(as __strlen\|no: which\|(as '
	check ifunc_names_its_implementation $?
fi

refused no_such_function 1 no_such_function "$where/shapes" no_such_function
refused no_such_file 1 "No such file" "$where/nothing"
refused not_an_elf_file 1 "not an ELF file" /etc/passwd
head -c 5000 "$where/shapes" >"$where/half"
refused cut_off_file 1 "cut off" "$where/half"
printf 'int f(void) { return 0; }' | gcc -x c -c -o "$where/object.o" -
refused object_file 1 "object file" "$where/object.o"
if [ -e "$victims/sleeper32" ]; then
	refused thirty_two_bit_file 1 32-bit "$victims/sleeper32"
fi
refused no_such_process 1 4194300 -p 4194300
refused bad_process_id 2 "'x1'" -p x1
refused two_globs 2 "'b'" "$where/shapes" a b
refused no_arguments 2 "name a file"

echo "1..$number"
exit $failed
