#!/bin/sh
# Builds the kernel's own test_verifier, unmodified, from Debian's linux-source-6.1 into DIR (outside the repository).
# Prints the path of the program. Exit 77: something is missing; the reason is on stderr.
#
# usage: tools/kernel-selftests-verifier.sh DIR
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
dir=$1
archive=/usr/src/linux-source-6.1.tar.xz
missing() { echo "$0: $1" >&2; exit 77; }

[ -r $archive ] || missing "no $archive (Debian package linux-source-6.1)"
for program in gcc tar xz; do
	command -v $program >/dev/null || missing "$program is not installed"
done
mkdir -p "$dir"
cd "$dir"
if [ ! -x test_verifier ]; then
	tar -xf $archive --wildcards 'linux-source-6.1/tools/*' 'linux-source-6.1/include/linux/filter.h'
	tree=linux-source-6.1/tools
	tests=$tree/testing/selftests/bpf
	{
		echo '#ifdef FILL_ARRAY'
		for file in $tests/verifier/*.c; do
			echo "#include \"$(basename "$file")\""
		done
		echo '#endif'
	} >$tests/verifier/tests.h
	# As the tests' own Makefile, but with Debian's libbpf in place of a copy that would have to be built.
	gcc -g -O1 -w -I$tests -I$tests/verifier -Iinclude -I$tree/lib -I$tree/include -I$tree/include/uapi \
		$tests/test_verifier.c $tests/testing_helpers.c $tests/cap_helpers.c -o test_verifier \
		-lbpf -lelf -lz -lrt -lpthread >build.log 2>&1 || missing "it does not build: $(tail -n 1 build.log)"
fi
echo "$PWD/test_verifier"
