#!/bin/sh
# Runs the benchmarks of a build folder: JSON lines to bench/results/, a table to the terminal.
# usage: bench/run.sh BUILD [NAME]...
set -eu
build=$1
shift
here=$(dirname "$0")
INLAY_SOURCE=$(cd "$here/.." && pwd)
INLAY_BUILD=$(cd "$build" && pwd)
export INLAY_SOURCE INLAY_BUILD
[ $# -gt 0 ] || set -- $(find "$build/bench" -maxdepth 1 -type f -perm -u+x -printf '%f\n' | sort)

commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown)
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
kernel=$(uname -r | cut -d- -f1)
results=$build/bench-results.jsonl
printf '{"machine":"%s","cpus":%s,"kernel":"%s","commit":"%s","date":"%s"}\n' \
	"$cpu" "$(nproc)" "$kernel" "$commit" "$(date -u +%F)" >"$results"
for name; do
	echo "running bench/$name" >&2
	"$build/bench/$name" >>"$results" || echo "bench/$name failed" >&2
done
"$here/table.py" "$results"
