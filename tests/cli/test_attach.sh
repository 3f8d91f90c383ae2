#!/bin/sh
# What inlay attach prints: lines, maps, variables, JSON, counts, and one sentence for each refusal.
set -u
inlay=$INLAY_BUILD/src/inlay
caller=$INLAY_BUILD/tests/victims/caller
work=$(mktemp -d)
target=
trap 'rm -rf "$work"; [ -z "$target" ] || kill $target 2>/dev/null' EXIT
trap 'exit 1' INT TERM
number=0
failed=0
check() { # NAME STATUS
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		sed 's/^/# out: /' "$work/out" | head -n 20
		sed 's/^/# err: /' "$work/err" | head -n 20
		failed=1
	fi
}

machine=$(uname -m)
case $machine in
x86_64) arch=x86 ;;
aarch64) arch=arm64 ;;
*) arch=$machine ;;
esac
compile() { # NAME, program on stdin
	{
		echo '#include "probe.bpf.h"'
		cat
	} >"$work/$1.bpf.c"
	clang -target bpf -D__TARGET_ARCH_$arch -I"/usr/include/$machine-linux-gnu" -I"$INLAY_SOURCE/examples" -g -O2 \
		-c "$work/$1.bpf.c" -o "$work/$1.bpf.o" || exit 1
}
attach() { "$inlay" attach "$@" >"$work/out" 2>"$work/err"; }
out() { grep -qx -e "$1" "$work/out"; }
err() { grep -q -e "$1" "$work/err"; }

compile both <<'EOF'
struct pair { int a; char name[8]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, struct pair); __type(value, __s64); } pairs SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } percpu SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } result_hist SEC(".maps");
long returns, largest = -1;
const volatile int constant = 5;
IN_EXECUTABLE("victim_work")
int BPF_KPROBE(enter, long a, long b)
{
	struct pair key = {.a = (int)(a & 1), .name = "b"};
	__s64 first = -1, *value = bpf_map_lookup_elem(&pairs, &key);
	__u32 zero = 0;
	__u64 *sum = bpf_map_lookup_elem(&percpu, &zero);

	if (value)
		--*value;
	else
		bpf_map_update_elem(&pairs, &key, &first, BPF_ANY);
	if (sum)
		*sum += (__u64)b;
	if (a < 2)
		bpf_printk("call %d of %s", (int)a, "victim_work");
	return 0;
}
RETURN_OF("victim_work")
int BPF_KRETPROBE(leave, long result)
{
	__u32 slot = log2_slot((__u64)result);
	__u64 *count = bpf_map_lookup_elem(&result_hist, &slot);

	if (count)
		++*count;
	returns++;
	if (result > largest)
		largest = result;
	return 0;
}
EOF

attach -c "$caller 1001" "$work/both.bpf.o"
check exits_0_with_the_command $?
out 'call 0 of victim_work' && out 'call 1 of victim_work'
check bpf_printk_lines $?
out '@pairs\[{0, b}\]: -501' && out '@pairs\[{1, b}\]: -500' &&
	[ "$(grep -n '^@pairs' "$work/out" | head -n 1 | grep -c -e -501)" -eq 1 ]
check structs_sorted_by_value $?
out '@percpu\[0\]: 7007'
check per_cpu_sums $?
out '@result_hist:' && grep -q '^\[16K, 32K)  *4[0-9][0-9] |@@*|$' "$work/out"
check histogram_is_drawn $?
out 'returns: 1001' && out 'largest: 31007' && ! grep -q constant "$work/out"
check variables $?
err 'attached 2 programs' && err '0 missed' && ! err '^inlay:'
check counts_on_stderr $?

attach -c "$caller 1001" --json "$work/both.bpf.o" && python3 - "$work/out" <<'EOF'
import json, sys
doc = json.load(open(sys.argv[1], encoding="utf-8"))
assert doc["maps"]["pairs"] == [{"key": {"a": 0, "name": "b"}, "value": -501}, {"key": {"a": 1, "name": "b"}, "value": -500}], doc
assert doc["maps"]["percpu"] == [{"key": 0, "value": 7007}], doc
assert sum(row["value"] for row in doc["maps"]["result_hist"]) == 1001, doc
assert doc["globals"] == {"returns": 1001, "largest": 31007}, doc
EOF
check json $?
err 'call 0 of victim_work'
check json_leaves_stdout_to_the_document $?

compile glob <<'EOF'
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u64); __type(value, __u64); } calls SEC(".maps");
SEC("uprobe.multi//proc/self/exe:victim_*")
int glob(struct pt_regs *ctx)
{
	__u64 ip = bpf_get_func_ip(ctx), one = 1, *value = bpf_map_lookup_elem(&calls, &ip);

	if (value)
		++*value;
	else
		bpf_map_update_elem(&calls, &ip, &one, BPF_ANY);
	return 0;
}
EOF
attach -c "$caller 300" "$work/glob.bpf.o" && grep -q '^@calls\[[1-9][0-9]*\]: 300$' "$work/out"
check uprobe_multi_and_func_ip $?

compile helpers <<'EOF'
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } rb SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } ph SEC(".maps");
long length, number, cmp, fault, cookie, avail;
unsigned long unsigned_number;
char text[32], comm[16];
__u64 pid, clocks;
SEC("uprobe//proc/self/exe:victim_work")
int BPF_KPROBE(all, long a, long b)
{
	char buf[16] = "0x1f tail", in[8] = "-12";
	char where[8];
	__u32 key = 3;
	__u64 value = 9, *rec;

	if (a > 0)
		return 0;
	bpf_printk("five %d %d %d %d %s", 1, 2, 3, 4, "args");
	length = BPF_SNPRINTF(text, sizeof(text), "a=%ld b=%ld c=%s", a, b, "cc");
	bpf_strtoul(buf, sizeof(buf), 0, &unsigned_number);
	bpf_strtol(in, sizeof(in), 10, &number);
	cmp = bpf_strncmp(buf, 9, "0x1f tail");
	bpf_get_current_comm(comm, sizeof(comm));
	pid = bpf_get_current_pid_tgid() >> 32;
	clocks = bpf_ktime_get_ns() && bpf_ktime_get_boot_ns() && bpf_ktime_get_tai_ns() && bpf_jiffies64();
	cookie = bpf_get_attach_cookie(ctx);
	rec = bpf_ringbuf_reserve(&rb, 16, 0);
	if (rec) {
		rec[0] = rec[1] = 1;
		bpf_ringbuf_submit(rec, 0);
	}
	rec = bpf_ringbuf_reserve(&rb, 16, 0);
	if (rec)
		bpf_ringbuf_discard(rec, 0);
	bpf_ringbuf_output(&rb, text, sizeof(text), 0);
	avail = bpf_ringbuf_query(&rb, BPF_RB_AVAIL_DATA);
	fault = bpf_probe_read_kernel(where, sizeof(where), (void *)0xffff888000000000ull);
	bpf_map_update_elem(&ph, &key, &value, 0);
	return 0;
}
EOF
attach -c "$caller 10" "$work/helpers.bpf.o" && out 'five 1 2 3 4 args' && out 'length: 13' && out 'text: a=0 b=7 c=cc' &&
	out 'number: -12' && out 'unsigned_number: 31' && out 'cmp: 0' && out 'fault: -14' && out 'cookie: 0' &&
	out 'avail: 88' && out 'comm: caller' && out 'clocks: 1' && out '@ph\[3\]: 9' &&
	[ "$(sed -n 's/^pid: //p' "$work/out")" = "$(sed -n 's/^process \([0-9]*\) exited/\1/p' "$work/err")" ]
check helpers $?

compile libc <<'EOF'
long sleeps;
SEC("uprobe/libc:clock_nanosleep")
int count(struct pt_regs *ctx)
{
	sleeps++;
	return 0;
}
EOF
"$caller" >/dev/null &
target=$!
sleep 0.2
attach -p $target --duration 0.5 "$work/libc.bpf.o" && grep -q '^sleeps: [1-9]' "$work/out"
check library_by_short_name $?

refused() { # NAME WORD ARGUMENTS...
	name=$1 word=$2
	shift 2
	attach "$@"
	[ $? -eq 1 ] && [ "$(grep -c '^inlay: ' "$work/err")" -eq 1 ] && err "$word" && [ ! -s "$work/out" ]
	check "$name" $?
}
for section in fentry/victim_work usdt/a:b:c usdt/a kprobe/do_exit uprobe uprobe//proc/self/exe:nothing_like_it uprobe/nothing.so:f; do
	printf 'SEC("%s") int f(void *ctx) { return 0; }\n' "$section" | compile refused
	refused "refuses_$section" "program 'f'" -p $target "$work/refused.bpf.o"
done
refused refuses_a_missing_command 'no-such-command' -c 'no-such-command x' "$work/libc.bpf.o"
refused refuses_an_open_quote 'quote' -c "echo 'x" "$work/libc.bpf.o"
attach -c 'false' "$work/libc.bpf.o" && err 'exited with status 1'
check the_commands_status_is_its_own $?

: >"$work/err" # of the case before
attach -p $target "$work/libc.bpf.o" &
attached=$!
while ! err attached && kill -0 $attached 2>/dev/null; do sleep 0.05; done
kill -KILL $target
wait $attached
[ $? -eq 1 ] && err "was killed by SIGKILL\|is gone" && grep -q '^sleeps: [0-9]' "$work/out"
check a_killed_process_is_told $?
target=

echo "1..$number"
exit $failed
