#!/usr/bin/env python3
"""Bad input: one clear error, exit 1, and the target byte for byte, mapping for mapping as it was."""
import os
import subprocess
import time

import lab

GOOD = """
SEC("uprobe//proc/self/exe:main") int good(struct pt_regs *ctx) { return 0; }
"""

OUT_OF_BOUNDS = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); } table SEC(".maps");
SEC("uprobe//proc/self/exe:main") int bad(struct pt_regs *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&table, &key);

	return value ? (int)value[9] : 0;
}
"""

UNINITIALISED = """
SEC("uprobe//proc/self/exe:main") int bad(struct pt_regs *ctx)
{
	__u64 value;

	asm volatile("%0 = *(u64 *)(r10 - 16)" : "=r"(value));
	return value == 7;
}
"""

UNBOUNDED = """
SEC("uprobe//proc/self/exe:main") int bad(struct pt_regs *ctx)
{
	__u64 n = 0;

	while (bpf_get_prandom_u32() != 7)
		n++;
	for (;;)
		asm volatile("%0 += 1" : "+r"(n));
	return (int)n;
}
"""

WRONG_ARGUMENT = """
SEC("uprobe//proc/self/exe:main") int bad(struct pt_regs *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem((void *)ctx, &key) != 0;
}
"""


class Target:
    """A sleeping process with a main in its symbol table."""

    def __init__(self, name="sleeper"):
        self.process = lab.start([lab.victim(name)], stdout=subprocess.DEVNULL)
        lab.wait_for(lambda: open(f"/proc/{self.process.pid}/wchan", encoding="ascii").read() not in ("", "0"),
                     "the target to sleep")
        self.pid = self.process.pid


def refused(pid, obj, *words, options=(), **popen):
    """Attaches in vain: exit 1, a one-line cause with all words in it, target untouched."""
    before = lab.snapshot(pid)
    result = lab.inlay("attach", "-p", pid, "--duration", "0.2", *options, obj, **popen)
    assert result.returncode == 1, (result.returncode, result.stdout, result.stderr)
    causes = [line for line in result.stderr.splitlines() if line.startswith("inlay: ")]
    assert len(causes) == 1, result.stderr
    for word in words:
        assert word.lower() in result.stderr.lower(), (word, result.stderr)
    assert lab.snapshot(pid) == before
    return result


def _program_is_refused(body, *words):
    refused(Target().pid, lab.compile_bpf(body), *words)


def out_of_bounds_map_value():
    _program_is_refused(OUT_OF_BOUNDS, "invalid access to map value")


def uninitialised_stack():
    _program_is_refused(UNINITIALISED, "'bad' is rejected", "invalid read from stack off -16+0 size 8", "never written")


def unbounded_loop():
    _program_is_refused(UNBOUNDED, "loop")


def wrong_helper_argument():
    _program_is_refused(WRONG_ARGUMENT, "R1")


def missing_function():
    obj = lab.compile_bpf(GOOD.replace(":main", ":no_such_function"))
    refused(Target().pid, obj, "no_such_function")


def missing_binary():
    obj = lab.compile_bpf(GOOD.replace("/proc/self/exe", "nothing.so.9"))
    refused(Target().pid, obj, "nothing.so.9")


def corrupt_object():
    target = Target()
    good = open(lab.compile_bpf(GOOD), "rb").read()
    where = lab.folder()
    for name, data in (("empty", b""), ("text", b"hello\n"), ("half", good[:len(good) // 2]), ("header", good[:64])):
        path = os.path.join(where, name + ".bpf.o")
        with open(path, "wb") as out:
            out.write(data)
        refused(target.pid, path, name)
    refused(target.pid, os.path.join(where, "missing.bpf.o"), "missing.bpf.o")


def wrong_machine():
    where = lab.folder()
    path = os.path.join(where, "native.o")
    subprocess.run(["gcc", "-x", "c", "-c", "-o", path, "-"], input=b"int main(void) { return 0; }", check=True)
    refused(Target().pid, path, "native.o")


def thirty_two_bit_target():
    try:
        refused(Target("sleeper32").pid, lab.compile_bpf(GOOD), "32-bit")
    except AssertionError as error:
        if "was not built" in str(error):
            raise lab.Skip("no 32-bit compiler") from error
        raise


def static_target():
    refused(Target("sleeper_static").pid, lab.compile_bpf(GOOD), "static")


def musl_target():
    try:
        refused(Target("sleeper_musl").pid, lab.compile_bpf(GOOD), "musl")
    except AssertionError as error:
        if "was not built" in str(error):
            raise lab.Skip("no musl compiler") from error
        raise


def traced_target():
    lab.need("gdb")
    target = Target()
    debugger = lab.start(["gdb", "-q", "-p", str(target.pid)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    lab.wait_for(lambda: "TracerPid:\t0\n" not in open(f"/proc/{target.pid}/status", encoding="ascii").read(), "gdb")
    lab.wait_for(lambda: "(tracing stop)" in open(f"/proc/{target.pid}/status", encoding="ascii").read(), "the stop")
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.2", lab.compile_bpf(GOOD))
    assert result.returncode == 1 and "traced" in result.stderr, result.stderr
    assert lab.text_differences(target.pid) == []
    debugger.kill()


def seccomp_target():
    refused(Target("sleeper_seccomp").pid, lab.compile_bpf(GOOD), "seccomp")


def _patch_main(target, patch):
    """Writes over the first bytes of main, as a debugger does; returns them as they were."""
    name = lab.victim("sleeper")
    symbols = subprocess.run(["nm", name], capture_output=True, text=True, check=True).stdout
    offset = next(int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(" T main"))
    start = next(a for a, _, _, _, n in lab.maps_of(target.pid) if n.endswith("/sleeper"))
    with open(f"/proc/{target.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(start + offset)
        before = memory.read(8)
        memory.seek(start + offset)
        memory.write(patch)
    return before


def debuggers_breakpoint():
    """Left in the text by somebody who is gone: refused, and both the bytes and their likely owner are named."""
    lab.need_root()
    target = Target()
    was = _patch_main(target, b"\xcc")
    refused(target.pid, lab.compile_bpf(GOOD), "main", "breakpoint is at +0", "cc " + was[1:3].hex(" "), was[:3].hex(" "))


def other_tools_jump():
    lab.need_root()
    target = Target()
    _patch_main(target, b"\xe9\x10\x00\x00\x00")
    refused(target.pid, lab.compile_bpf(GOOD), "main", "another tool's jump to 0x", "sleeper", "e9 10 00 00 00")


def other_tools_bytes():
    lab.need_root()
    target = Target()
    _patch_main(target, b"\x90\x90\x90\x90\x90")
    refused(target.pid, lab.compile_bpf(GOOD), "main", "somebody else has patched it", "90 90 90 90 90")


def bytes_that_another_probe_owns():
    """Its owner is named: a place inside the window of a typed probe, in another session."""
    lab.need("pahole")
    target = lab.start([lab.victim("typed")], stdout=subprocess.DEVNULL)
    time.sleep(0.2)
    owner = lab.Attachment(target.pid, lab.compile_bpf('SEC("fexit//proc/self/exe:twelve") int f(__u64 *ctx) { return 0; }'))
    before = lab.snapshot(target.pid)
    causes = []
    for offset in range(1, 12):
        probe = lab.compile_bpf(GOOD.replace(":main", f":twelve+{offset}"))
        result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", probe)
        causes += [line for line in result.stderr.splitlines() if line.startswith("inlay: ") and "twelve" in line]
    assert any("programs are attached to it already that see other types or another place of it" in line for line in causes), causes
    assert not any("somebody else" in line for line in causes), causes
    assert lab.snapshot(target.pid) == before
    assert owner.finish()[0] == 0


def no_such_process():
    result = lab.inlay("attach", "-p", 4194300, "--duration", "0.2", lab.compile_bpf(GOOD))
    assert result.returncode == 1 and "4194300" in result.stderr, result.stderr


def exhausted_memory_for_objects():
    """An address space too small for the map: the loader says so, the target never hears of it."""
    lab.need_plain("the sanitizer's shadow memory is larger than the limit")
    obj = lab.compile_bpf("""
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1 << 25); __type(key, __u32); __type(value, __u64[8]); } big SEC(".maps");
SEC("uprobe//proc/self/exe:main") int f(struct pt_regs *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&big, &key) != 0;
}
""")
    target = Target()
    before = lab.snapshot(target.pid)
    result = subprocess.run(["sh", "-c", f"ulimit -v 1500000; exec {lab.INLAY} attach -p {target.pid} --duration 0.2 {obj}"],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and "inlay: " in result.stderr, (result.returncode, result.stderr)
    assert "memory" in result.stderr, result.stderr
    assert lab.snapshot(target.pid) == before


def exhausted_disk_for_the_registry():
    """The registry of ids lies in a file system without a free block."""
    lab.need_root()
    target, where = Target(), lab.folder()
    before = lab.snapshot(target.pid)
    script = (f"mount -t tmpfs -o size=16k none {where} && head -c 16384 /dev/zero >{where}/full; "
              f"mkdir -m 700 {where}/registry; INLAY_REGISTRY={where}/registry exec {lab.INLAY} attach -p {target.pid} "
              f"--duration 0.2 {lab.compile_bpf(GOOD)}")
    result = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    causes = [line for line in result.stderr.splitlines() if line.startswith("inlay: ")]
    assert result.returncode == 1 and len(causes) == 1, (result.returncode, result.stderr)
    assert "space" in causes[0] or "memory" in causes[0], causes
    assert lab.snapshot(target.pid) == before


lab.run(out_of_bounds_map_value, uninitialised_stack, unbounded_loop, wrong_helper_argument, missing_function,
        missing_binary, corrupt_object, wrong_machine, thirty_two_bit_target, static_target, musl_target, traced_target,
        seccomp_target, debuggers_breakpoint, other_tools_jump, other_tools_bytes, bytes_that_another_probe_owns, no_such_process,
        exhausted_memory_for_objects, exhausted_disk_for_the_registry)
