#!/usr/bin/env python3
"""Stacks: bpf_get_stackid in a server without frame pointers against gdb, and C++ unwinding through probed functions."""
import json
import os
import re
import signal
import subprocess
import time

import lab

STACKS = """
#include <linux/ptrace.h>
struct {{ __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 4096); __uint(key_size, 4);
	__uint(value_size, 64 * 8); }} traces SEC(".maps");
struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096); __type(key, __s32); __type(value, __u64); }} stacks SEC(".maps");
SEC("{section}") int probe(void *ctx)
{{
	__s32 id = bpf_get_stackid(ctx, &traces, BPF_F_USER_STACK);
	__u64 one = 1, *count = bpf_map_lookup_elem(&stacks, &id);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&stacks, &id, &one, BPF_NOEXIST);
	return 0;
}}
"""

COUNTS = """
struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); }} calls SEC(".maps");
static __always_inline int count(void)
{{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&calls, &zero);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}}
{programs}
"""


def stacks_of(output):
    """[(frames, count)], the most frequent first."""
    maps = json.loads(output)["maps"]
    frames = {row["key"]: row["value"] for row in maps["traces"]}
    return sorted(((frames[row["key"]], row["value"]) for row in maps["stacks"] if row["key"] in frames), key=lambda r: -r[1])


def attach_stacks(pid, section, seconds=1):
    result = lab.inlay("attach", "-p", pid, "--duration", seconds, "--json", lab.compile_bpf(STACKS.format(section=section)))
    assert result.returncode == 0, result.stderr
    return stacks_of(result.stdout)


def function_of(frame):
    return re.sub(r"\+0x[0-9a-f]+$", "", frame.split("`")[1])


def gdb_callers(pid, function):
    """Return addresses of the callers of a function's next call, as gdb finds them."""
    lab.need("gdb")
    gdb = subprocess.run(["gdb", "-q", "-batch", "-nx", "-p", str(pid), "-ex", f"break *&{function}", "-ex", "continue", "-ex", "set backtrace past-main on",
                          "-ex", "set backtrace past-entry off", "-ex", "backtrace"], capture_output=True, text=True, timeout=60, check=False)
    return [int(row, 16) for row in re.findall(r"^#[1-9]\d*\s+0x([0-9a-f]+) in ", gdb.stdout, re.M)]


def whole_stacks_without_frame_pointers():
    redis = lab.Redis()
    redis.load()
    stacks = attach_stacks(redis.pid, "uprobe//proc/self/exe:processCommand")
    names = [function_of(frame) for frame in stacks[0][0]]
    assert names[0] == "processCommand" and names[1] == "processInputBuffer", names
    assert "aeMain" in names and "main" in names, names
    assert names[-1] == "_start" or stacks[0][0][-2].startswith("libc.so.6`__libc_start_main"), names
    # Every caller that gdb finds, by address: the module's addresses in ours are relative where they have no name.
    callers = gdb_callers(redis.pid, "processCommand")
    assert 5 <= len(callers) <= len(names) - 1, (callers, names)


def the_same_callers_at_return():
    redis = lab.Redis()
    redis.load()
    at_entry = attach_stacks(redis.pid, "uprobe//proc/self/exe:processCommand")[0][0]
    at_return = attach_stacks(redis.pid, "uretprobe//proc/self/exe:processCommand")[0][0]
    assert at_return == at_entry[1:], (at_entry, at_return)


def the_same_stack_in_typed_programs():
    lab.need("pahole")
    for function in ("add_two", "twelve"):
        target = lab.start([lab.victim("typed")], stdout=subprocess.DEVNULL)
        time.sleep(0.1)
        stacks = {kind: attach_stacks(target.pid, f"{kind}//proc/self/exe:{function}", 0.2) for kind in ("uprobe", "fentry", "fexit")}
        names = [function_of(frame) for frame in stacks["uprobe"][0][0]]
        assert names[0] == function and "main" in names, names
        assert all(len(found) == 1 and found[0][0] == stacks["uprobe"][0][0] for found in stacks.values()), stacks
        # What the helper itself gives, beside registers as context on the same function.
        both = STACKS.format(section=f"fexit//proc/self/exe:{function}") + """
SEC("uprobe//proc/self/exe:%s") int plain(void *ctx) { __u64 w[4]; return bpf_get_stack(ctx, w, sizeof(w), BPF_F_USER_STACK); }
""" % function
        result = lab.inlay("attach", "-p", target.pid, "--duration", 0.2, "--json", lab.compile_bpf(both))
        assert result.returncode == 0, result.stderr
        assert stacks_of(result.stdout)[0][0] == stacks["uprobe"][0][0], result.stdout


def exceptions_pass(victim, kinds):
    if not os.path.exists(lab.victim(victim)):
        raise lab.Skip("no C++ compiler")
    programs = ""
    for kind in kinds:
        for function in ("middle", "thrower"):
            programs += f'SEC("{kind}//proc/self/exe:{function}") int {kind}_{function}(void *ctx) {{ return count(); }}\n'
    obj = lab.compile_bpf(COUNTS.format(programs=programs))
    process = lab.start([lab.victim(victim), "120"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    hits = 0
    for _ in range(3):
        attachment = lab.Attachment(process.pid, obj, "--json")
        time.sleep(0.7)
        assert process.poll() is None, process.stderr.read()
        status, out, err = attachment.finish(signal.SIGINT)
        assert status == 0, err
        hits += json.loads(out)["maps"]["calls"][0]["value"]
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, (process.returncode, err)
    assert hits > 100 and int(out.split()[1]) > 10, (hits, out)


def exceptions_under_entry():
    exceptions_pass("throws", ["uprobe"])


def exceptions_under_exit():
    exceptions_pass("throws", ["uretprobe"])


def exceptions_under_both():
    exceptions_pass("throws", ["uprobe", "uretprobe"])


def exceptions_under_typed_exit():
    lab.need("pahole")
    exceptions_pass("throws", ["fexit"])
    exceptions_pass("throws", ["fentry", "fexit", "uretprobe"])


def exceptions_with_static_libgcc():
    exceptions_pass("throws_static", ["uprobe", "uretprobe"])


if __name__ == "__main__":
    lab.need_root()
    lab.run(whole_stacks_without_frame_pointers, the_same_callers_at_return, the_same_stack_in_typed_programs, exceptions_under_entry, exceptions_under_exit,
            exceptions_under_both, exceptions_under_typed_exit, exceptions_with_static_libgcc)
