#!/bin/sh
# Fuzzing for some seconds: accepted programs in a checking interpreter, verdicts beside the running kernel's, value domains.
# A line "# seed N" is one program judged otherwise than by the kernel: INLAY_FUZZ_PROGRAMS=1 INLAY_FUZZ_SEED=N shows it.
# usage: fuzz/run.sh BUILD SECONDS
set -u
build=$1
seconds=$2
status=0
half=$((seconds / 2 + 1))
"$build/fuzz/verify_run" $half || status=1
end=$(($(date +%s) + half))
seed=$(date +%s)000000
while [ "$(date +%s)" -lt "$end" ]; do
	said=$(INLAY_FUZZ_PROGRAMS=2000 INLAY_FUZZ_SEED=$seed "$build/tests/verify-test_kernel") || status=1
	echo "$said" | grep -e '^# [0-9]* programs' -e '^# seed'
	seed=$((seed + 2000))
done
for domain in test_tnum test_scalar; do
	"$build/tests/verify-$domain" | grep '^not ok' && status=1
done
"$build/fuzz/domains" 4 || status=1
# A quarter of an hour by itself.
[ "$seconds" -lt 1800 ] || "$build/fuzz/domains" 8 || status=1
exit $status
