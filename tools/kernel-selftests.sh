#!/bin/sh
# Runs the kernel's own tail call tests (linux-source-6.1's prog_tests/tailcalls.c, unmodified) under `inlay run`.
# Their source is the kernel's and stays outside the repository: it is unpacked and built in CACHE.
# usage: tools/kernel-selftests.sh INLAY CACHE [--kernel]      --kernel: on the running kernel instead, as a check of the harness
set -eu
inlay=$(realpath "$1")
mkdir -p "$2"
cache=$(realpath "$2")
here=$(realpath "$(dirname "$0")/../tests/kernel-selftests")
package=linux-source-6.1
tests=$cache/$package/tools/testing/selftests/bpf

skip() {
	echo "1..0 # SKIP $1"
	exit 0
}

for tool in clang bpftool cc xz; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
if [ ! -f "$tests/prog_tests/tailcalls.c" ]; then
	archive=/usr/src/$package.tar.xz
	cd "$cache"
	if [ -f $archive ]; then
		ln -sf $archive source.tar.xz
	else
		ls ${package}_*.deb >/dev/null 2>&1 || apt-get download $package >/dev/null 2>&1 ||
			skip "the package $package cannot be had"
		dpkg-deb --fsys-tarfile ${package}_*.deb | tar xO ./usr/src/$package.tar.xz >source.tar.xz
	fi
	tar xJf source.tar.xz --wildcards '*/selftests/bpf/prog_tests/tailcalls.c' '*/selftests/bpf/progs/tailcall*' \
		'*/selftests/bpf/progs/*.h' '*/selftests/bpf/*.h'
	rm -f source.tar.xz
fi

build=$cache/build
mkdir -p "$build"
cd "$build"
for source in "$tests"/progs/tailcall*.c; do
	name=$(basename "$source" .c)
	clang -g -O2 --target=bpf -mcpu=v3 -D__TARGET_ARCH_x86 -I"$tests" -I/usr/include/"$(uname -m)"-linux-gnu \
		-Wno-compare-distinct-pointer-types -c "$source" -o "$name.bpf.o"
	bpftool gen skeleton "$name.bpf.o" name "$name" >"$name.skel.h"
done
cc -g -O1 -w -I"$here" -I"$build" "$here/runner.c" "$tests/prog_tests/tailcalls.c" -o runner -lbpf -lelf -lz
if [ "${3:-}" = --kernel ]; then
	exec ./runner
fi
exec "$inlay" run -- ./runner
