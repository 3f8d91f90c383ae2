#!/bin/sh
# The short form of `make cross`, in `make check`: conformance and some random programs on the arm64 JIT, with and without LSE.
# Skips, with its reason, where what it needs is not installed.
set -u
number=0
failed=0
for need in aarch64-linux-gnu-gcc qemu-aarch64 meson ninja; do
	command -v $need >/dev/null || { echo "1..0 # SKIP $need is not installed: tools/install-deps.sh cross"; exit 0; }
done
build=$INLAY_BUILD/cross
programs="tests/cross/exec-test_conformance tests/cross/exec-test_insn tests/cross/engines_run"
check() { # NAME COMMAND...: the command must succeed; what it says is shown when it does not
	number=$((number + 1))
	name=$1
	shift
	if said=$("$@" 2>&1); then
		echo "ok $number - $name"
	else
		echo "$said" | tail -20 | sed 's/^/# /'
		echo "not ok $number - $name"
		failed=1
	fi
}
configure() {
	[ -f "$build/build.ninja" ] || meson setup "$build" "$INLAY_SOURCE" --cross-file "$INLAY_SOURCE/tools/cross-aarch64.ini"
}
check configures configure
# shellcheck disable=SC2086
check builds ninja -j2 -C "$build" $programs
for cpu in max cortex-a72; do
	export QEMU_CPU=$cpu
	check conformance_$cpu qemu-aarch64 "$build/tests/cross/exec-test_conformance"
	check instructions_$cpu qemu-aarch64 "$build/tests/cross/exec-test_insn"
	check random_$cpu qemu-aarch64 "$build/tests/cross/engines_run" 300 1
done
echo "1..$number"
exit $failed
