#!/bin/sh
# Builds the kernel's largest verifier tests (progs of verif_scale and their like), unmodified, from Debian's linux-source-6.1 into
# DIR (outside the repository): those that need nothing that only a kernel has (tasks, tunnels, LRU maps, light-weight tunnels).
# Prints a line for each: the object and its program type's number. Exit 77: something is missing; the reason is on stderr.
#
# usage: tools/kernel-selftests-scale.sh DIR
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
dir=$1
archive=/usr/src/linux-source-6.1.tar.xz
btf=/sys/kernel/btf/vmlinux
missing() { echo "$0: $1" >&2; exit 77; }

[ -r $archive ] || missing "no $archive (Debian package linux-source-6.1)"
[ -r $btf ] || missing "no $btf"
for program in clang bpftool tar xz; do
	command -v $program >/dev/null || missing "$program is not installed"
done
mkdir -p "$dir"
cd "$dir"
tests=linux-source-6.1/tools/testing/selftests/bpf
[ -e $tests/progs/test_verif_scale3.c ] ||
	tar -xf $archive --wildcards 'linux-source-6.1/tools/testing/selftests/bpf/*.h' 'linux-source-6.1/tools/testing/selftests/bpf/progs/*'
[ -s vmlinux.h ] || bpftool btf dump file $btf format c >vmlinux.h
# Numbers of enum bpf_prog_type, as prog_tests/bpf_verif_scale.c has them.
for test in loop1:17 loop2:17 loop4:3 loop5:3 loop6:2 test_verif_scale1:3 test_verif_scale2:3 test_verif_scale3:3 test_xdp_loop:6; do
	name=${test%:*}
	[ -s "$name.bpf.o" ] || clang -g -O2 -mcpu=v3 -target bpf -w -D__TARGET_ARCH_x86 -I. -I$tests -I"/usr/include/$(uname -m)-linux-gnu" \
		-c "$tests/progs/$name.c" -o "$name.bpf.o" 2>build.log || missing "$name.c does not build: $(head -n 1 build.log)"
	echo "$PWD/$name.bpf.o ${test#*:}"
done
