#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""SEC("tick/..."): programs that run once a period, over the maps of those in the target."""
import json
import time

from lab import *

RATES = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
unsigned long long ticks, seen, last, backwards, often, sum;
static int visit(__u32 i, void *ctx) { sum += i; return 0; }
SEC("uprobe//proc/self/exe:handle") int BPF_KPROBE(handle)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&calls, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
SEC("tick/ms:20") int rate(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&calls, &zero), now = bpf_ktime_get_ns();

	ticks++;
	if (now < last)
		backwards++;
	last = now;
	if (count) {
		seen += *count;
		if (ticks <= 2)
			bpf_printk("tick %d", ticks);
		*count = 0;
	}
	return 0;
}
SEC("interval/hz:1000") int fast(void *ctx) { often++; bpf_loop(3, visit, 0, 0); return 0; }
"""


def running():
    process = start([victim("layout")])
    time.sleep(0.1)
    return process


def ticks_see_what_probes_count():
    process = running()
    result = inlay("attach", "-p", process.pid, "-d", "1", "--json", compile_bpf(RATES))
    assert result.returncode == 0, result
    values = json.loads(result.stdout)["globals"]
    # How many there are is a matter of load; that there are, and not too many, is not.
    assert 3 <= values["ticks"] <= 51 and 10 <= values["often"] <= 1001, values
    assert values["seen"] > 0 and values["backwards"] == 0 and values["sum"] == 3 * values["often"], values
    assert f"rate: {values['ticks']} runs" in result.stderr, result.stderr
    assert "tick 1\n" in result.stderr and "tick 2\n" in result.stderr and "tick 3" not in result.stderr, result.stderr
    assert "1 function of process" in result.stderr, result.stderr


def a_tick_alone_leaves_the_target_alone():
    process = running()
    before = snapshot(process.pid)
    attachment = Attachment(process.pid, compile_bpf('int n;\nSEC("tick/us:500") int tick(void *ctx) { n++; return 0; }'), "--json")
    assert snapshot(process.pid) == before
    wait_for(lambda: time.sleep(0.2) is None, "some ticks")
    status, out, err = attachment.finish()
    assert status == 0 and json.loads(out)["globals"]["n"] > 3, (out, err)


def a_period_is_needed():
    process = running()
    for section, words in (("tick", "names no period"), ("tick/us:1", "shortest period is 100 us"), ("profile/hz:99", "not supported yet")):
        result = inlay("attach", "-p", process.pid, compile_bpf(f'SEC("{section}") int f(void *ctx) {{ return 0; }}'))
        assert result.returncode == 1 and words in result.stderr and result.stderr.count("\n") == 1, result


run(ticks_see_what_probes_count, a_tick_alone_leaves_the_target_alone, a_period_is_needed)
