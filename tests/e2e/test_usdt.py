#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""SEC("usdt/...") in a program that checks its own results: arguments, semaphores, windows in front of a probe, refusals."""
import json
import re
import signal
import struct
import subprocess
import time

from lab import *

PRELUDE = """
#include <stdbool.h>
#include <bpf/usdt.bpf.h>
"""

ARGUMENTS = PRELUDE + """
int id, count;
long size, small, leafs, befores, tables, odds, evens, gates, indexed, indexed_error, vector_error;
__u64 a, r, b, stepped;
char text[16];
SEC("usdt//proc/self/exe:lab:request")
int BPF_USDT(request, int first, long second, const char *name, short fourth, const char *local)
{
	id = first; size = second; small = fourth; count = bpf_usdt_arg_cnt(ctx);
	bpf_probe_read_user_str(text, sizeof(text), local);
	return 0;
}
SEC("usdt/:lab:leaf") int BPF_USDT(leaf, __u64 x, __u64 y, __u64 z) { leafs++; a = x; r = y; b = z; return 0; }
SEC("usdt/lab:before") int BPF_USDT(before, __u64 x) { befores++; stepped += x; return 0; }
SEC("usdt//proc/self/exe:lab:table") int table(struct pt_regs *ctx)
{
	long value;

	tables++;
	indexed_error = bpf_usdt_arg(ctx, 0, &value);
	indexed = value;
	vector_error = bpf_usdt_arg(ctx, 1, &value);
	return 0;
}
SEC("usdt//proc/self/exe:lab:pair") int BPF_USDT(pair, __u64 n)
{
	if (bpf_usdt_arg_cnt(ctx) == 2)
		evens += n;
	else
		odds += n;
	return 0;
}
SEC("usdt//proc/self/exe:lab:gated") int gated(struct pt_regs *ctx) { gates++; return 0; }
"""

# As libbpf 1.7 declares them: its argument has an index register.
INDEXED = """
#include <stdbool.h>
enum kind { KIND_CONST, KIND_REG, KIND_DEREF, KIND_INDEXED };
struct argument { __u64 offset; enum kind type : 8; __u16 index : 12; __u16 scale : 4; __u8 reserved : 8; short reg; bool is_signed; char shift; };
struct spec { struct argument args[12]; __u64 cookie; short count; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 8); __type(key, int); __type(value, struct spec); } __bpf_usdt_specs SEC(".maps");
long hits, found;
SEC("usdt//proc/self/exe:lab:table") int table(struct pt_regs *ctx)
{
	int key = bpf_get_attach_cookie(ctx);
	struct spec *spec = bpf_map_lookup_elem(&__bpf_usdt_specs, &key);
	unsigned long base, index;
	int value;

	hits++;
	if (!spec || spec->args[0].type != KIND_INDEXED)
		return 0;
	bpf_probe_read_kernel(&base, 8, (void *)ctx + spec->args[0].reg);
	bpf_probe_read_kernel(&index, 8, (void *)ctx + spec->args[0].index);
	bpf_probe_read_user(&value, 4, (void *)(base + (index << spec->args[0].scale) + spec->args[0].offset));
	found = value;
	return 0;
}
"""

STACK = PRELUDE + """
__u64 stack[8];
long got;
SEC("usdt//proc/self/exe:lab:leaf") int leaf(struct pt_regs *ctx)
{
	got = bpf_get_stack(ctx, stack, sizeof(stack), BPF_F_USER_STACK);
	return 0;
}
"""


def probe(name):
    return compile_bpf(PRELUDE + f'long hits;\nSEC("usdt//proc/self/exe:lab:{name}") int probe(struct pt_regs *ctx) {{ __sync_fetch_and_add(&hits, 1); return 0; }}')


def globals_of(result):
    return json.loads(result)["globals"]


def semaphore(pid, name):
    """The value of NAME in a running victim."""
    path = victim("sdt")
    symbols = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    address = next(int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(f" {name}"))
    base = next(begin for begin, _, _, offset, where in maps_of(pid) if where == path and offset == 0)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(base + address)
        return struct.unpack("H", memory.read(2))[0]


def running():
    process = start([victim("sdt")], stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)
    return process


def arguments():
    result = inlay("attach", "-c", f"{victim('sdt')} 1000", compile_bpf(ARGUMENTS), "--json")
    assert result.returncode == 0 and "wrong" not in result.stdout, result
    values = globals_of(result.stdout[result.stdout.index("{"):])
    last = 999
    a, b, mask = last * 0x9e3779b97f4a7c15 % 2**64, ~last % 2**64, 2**64 - 1
    assert values["id"] == last and values["size"] == 100 and values["small"] == -7 and values["count"] == 5, values
    assert "job-999" in str(values["text"]) or bytes(values["text"][:7]) == b"job-999", values
    assert (values["a"], values["r"], values["b"]) == (a, a + b & mask, b), values
    assert values["leafs"] == values["befores"] == values["tables"] == 1000, values
    assert values["stepped"] == sum(n % 5 + 1 + 3 for n in range(1000)), values
    assert values["odds"] == 3000 and values["evens"] == 1004000, values
    assert values["indexed_error"] == values["vector_error"] == -22 and values["indexed"] == 0, values
    assert values["gates"] == 2000, values
    assert "2 arguments are in places that are not served" in result.stderr, result.stderr


def index_registers():
    result = inlay("attach", "-c", f"{victim('sdt')} 10", compile_bpf(INDEXED), "--json")
    values = globals_of(result.stdout[result.stdout.index("{"):])
    assert values["hits"] == 10 and values["found"] == -30, result


def semaphores_follow():
    process = running()
    before = text_differences(process.pid, victim("sdt"))
    assert semaphore(process.pid, "lab_pair_semaphore") == 0
    attachment = Attachment(process.pid, probe("pair"))
    assert semaphore(process.pid, "lab_pair_semaphore") == 2  # two places
    second = Attachment(process.pid, probe("pair"))
    assert semaphore(process.pid, "lab_pair_semaphore") == 4
    assert attachment.finish()[0] == 0
    assert semaphore(process.pid, "lab_pair_semaphore") == 2
    second.process.kill()
    wait_for(lambda: semaphore(process.pid, "lab_pair_semaphore") == 0, "the semaphore of a killed loader")
    wait_for(lambda: text_differences(process.pid, victim("sdt")) == before, "the text of a killed loader")
    assert process.poll() is None


def stacks_from_the_point():
    process = running()
    attachment = Attachment(process.pid, compile_bpf(STACK), "--json")
    time.sleep(0.2)
    _, out, _ = attachment.finish()
    values = globals_of(out)
    path = victim("sdt")
    symbols = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    starts = sorted((int(w[0], 16), w[2]) for w in map(str.split, symbols.splitlines()) if len(w) == 3 and w[1] in "tT")
    base = next(begin for begin, _, _, offset, where in maps_of(process.pid) if where == path and offset == 0)
    names = [[n for a, n in starts if a <= ip - base][-1] for ip in values["stack"] if 0 < ip - base < 1 << 20]
    assert names[0] == "leaf" and "main" in names[1:3], (names, values)
    assert values["got"] >= 24, values


def refusals():
    process = running()
    before = snapshot(process.pid)
    for body, words in (("nowhere", "cannot be probed: branch into the window"), ("absent", "has no probe lab:absent")):
        result = inlay("attach", "-p", process.pid, probe(body))
        assert result.returncode == 1 and words in result.stderr, result
    bad = compile_bpf(PRELUDE + 'SEC("usdt/lab") int bad(struct pt_regs *ctx) { return 0; }')
    result = inlay("attach", "-p", process.pid, bad)
    assert result.returncode == 1 and "names no" in result.stderr, result
    assert snapshot(process.pid) == before


def cycles_under_load():
    process = start([victim("sdt"), "3000000"], stdout=subprocess.PIPE, text=True)
    obj = compile_bpf(ARGUMENTS)
    cycles = 0
    while process.poll() is None and cycles < 10:
        result = inlay("attach", "-p", process.pid, "-d", "0.05", obj)
        assert process.poll() is not None or result.returncode == 0, result
        cycles += 1
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=120 * SLOWNESS)
    assert process.returncode == 0 and "3000000 rounds" in out, (out, process.returncode)
    print(f"# {cycles} cycles")


def exceptions_of_a_library():
    """The example: an SDT note in libstdc++, its argument a type."""
    need("g++")
    result = inlay("attach", "-c", victim("throws"), "-d", "1", example("exceptions"))
    assert result.returncode == 0 and re.search(r"^@exceptions\[i\]: [1-9]", result.stdout, re.M), result


def offsets_in_functions():
    """A uprobe may name an instruction in the middle of a function."""
    process = running()
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", victim("sdt")], check=True, capture_output=True, text=True).stdout
    body = text[text.index("<leaf>:"):].split("\n\n")[0].splitlines()[1:]
    start_at = int(body[0].split(":")[0], 16)
    offset = next(int(line.split(":")[0], 16) for line in body if "adc" in line or "add" in line) - start_at
    name = f"/proc/self/exe:leaf+{offset}"
    attachment = Attachment(process.pid, compile_bpf(f'long hits;\nSEC("uprobe/{name}") int probe(void *ctx) {{ hits++; return 0; }}'), "--json")
    time.sleep(0.2)
    status, out, err = attachment.finish()
    assert status == 0 and globals_of(out)["hits"] > 0, (out, err)
    wrong = compile_bpf(f'SEC("uprobe//proc/self/exe:leaf+{offset + 1}") int probe(void *ctx) {{ return 0; }}')
    result = inlay("attach", "-p", process.pid, wrong)
    assert result.returncode == 1 and "no instruction begins there" in result.stderr, result
    assert process.poll() is None


try:
    victim("sdt")
except AssertionError:
    print("1..0 # SKIP systemtap-sdt-dev is not installed")
    sys.exit(0)
run(arguments, index_registers, semaphores_follow, stacks_from_the_point, refusals, cycles_under_load, offsets_in_functions,
    exceptions_of_a_library)
