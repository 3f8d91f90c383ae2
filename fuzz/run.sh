#!/bin/sh
# Fuzzing for some seconds: accepted programs in a checking interpreter, verdicts beside the running kernel's, value domains.
# usage: fuzz/run.sh BUILD SECONDS
set -u
build=$1
seconds=$2
status=0
half=$((seconds / 2 + 1))
"$build/fuzz/verify_run" $half || status=1
"$build/fuzz/verify_kernel" $half
[ $? -eq 1 ] && status=1
for domain in test_tnum test_scalar; do
	"$build/tests/verify-$domain" | grep '^not ok' && status=1
done
"$build/fuzz/domains" 4 || status=1
# A quarter of an hour by itself.
[ "$seconds" -lt 1800 ] || "$build/fuzz/domains" 8 || status=1
exit $status
