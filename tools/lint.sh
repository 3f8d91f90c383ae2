#!/bin/sh
# Laws of the tree as scripts. usage: tools/lint.sh [floors|format|calls|sizes|headers|arch]...  (default: all)
# Prints each violation as FILE:LINE: what; exits 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 2
bad=0

sources() { find src include tests bench fuzz examples -name '*.[ch]' | sort; }

floors() { sh tools/check-floors.sh; }

format() {
	if ! command -v clang-format >/dev/null; then
		echo "clang-format is not installed"
		return 1
	fi
	find src include tests bench -name '*.[ch]' | sort | xargs clang-format --dry-run -Werror --ferror-limit=3
}

# Library code never prints, exits or uses unbounded string functions; those belong to cli/, preload/ and tests.
calls() {
	find src -name '*.[ch]' ! -path 'src/cli/*' | sort | xargs grep -nE \
		'(^|[^_a-zA-Z0-9."])(printf|puts|putchar|fprintf|perror|exit|abort|assert|system|popen|gets)[ ]*\(' |
		grep -vE ':[0-9]+:[ \t]*(\*|/\*|//)' && return 1
	sources | xargs grep -nE '(^|[^_a-zA-Z0-9])(strcpy|strcat|sprintf|vsprintf|strtok|gets|alloca)[ ]*\(' && return 1
	grep -nE 'PROT_WRITE *\| *PROT_EXEC|PROT_EXEC *\| *PROT_WRITE|PROT_READ *\| *PROT_WRITE *\| *PROT_EXEC' -r src && return 1
	return 0
}

# No file over 900 lines; no function over 80 unless the line above its name says "long:" and why.
sizes() {
	find src -name '*.[chS]' | xargs wc -l | awk '$2 != "total" && $1 > 900 { print $2 ": " $1 " lines"; bad = 1 } END { exit bad }' || return 1
	command -v ctags >/dev/null || { echo "ctags is not installed"; return 1; }
	find src -name '*.c' | sort | xargs ctags -x --c-kinds=f --_xformat='%F %n %{end} %N' |
	while read -r file start end name; do
		lines=$((end - start + 1))
		[ "$lines" -le 80 ] && continue
		from=$((start > 12 ? start - 12 : 1))
		sed -n "${from},${start}p" "$file" | grep -q 'long:' && continue
		echo "$file:$start: $name is $lines lines"
	done | grep . && return 1
	return 0
}

headers() {
	missing=$(sources | xargs grep -L 'SPDX-License-Identifier')
	[ -z "$missing" ] || { echo "$missing" | sed 's/$/: no SPDX line/'; return 1; }
}

# Only src/arch/ knows a CPU: elsewhere no inline assembly but the three listed places.
arch() {
	find src -name '*.[ch]' ! -path 'src/arch/*' | sort | xargs grep -nE '__asm__|asm volatile|__x86_64__|__aarch64__' |
		grep -vFf tools/arch-exceptions.txt && return 1
	return 0
}

[ $# -gt 0 ] || set -- floors format calls sizes headers arch
for law in "$@"; do
	$law || { echo "lint: $law: broken" >&2; bad=1; }
done
exit $bad
