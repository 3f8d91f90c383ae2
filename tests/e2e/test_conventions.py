#!/usr/bin/env python3
"""Callers that rely on more than the System V convention says, and code at a hit that leaves vector registers alone."""
import glob
import json
import os
import re
import subprocess
import time

import lab

COMMON = ("windows", "x87", "wide", "turn", "turn_float", "turn_x87")
PROBE = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
static __always_inline int note(void *ctx, __u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&calls, &key), buffer[8] = {};

	bpf_probe_read_user(buffer, sizeof(buffer), (void *)PT_REGS_SP((struct pt_regs *)ctx));
	if (value)
		__sync_fetch_and_add(value, 1);
	return bpf_get_prandom_u32() & 1;
}
"""


def _probed(kind, functions):
    """Entry, return and both, one after the other, on all of them: the victim checks itself throughout."""
    victim = lab.victim("conventions_" + kind)
    if "avx512f" in open("/proc/cpuinfo", encoding="utf-8").read():
        functions += ("widest",)
    target = lab.start([victim], stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)
    for sides in (("uprobe",), ("uretprobe",), ("uprobe", "uretprobe")):
        body, keys = PROBE, 0
        for side in sides:
            for name in functions:
                body += f'SEC("{side}//proc/self/exe:{name}") int {side}_{name}(void *ctx) {{ return note(ctx, {keys}); }}\n'
                keys += 1
        attachment = lab.Attachment(target.pid, lab.compile_bpf(body), "--json")
        time.sleep(0.3)
        status, out, err = attachment.finish()
        assert status == 0, err
        assert target.poll() is None, f"{sides}: {target.stdout.read()}"
        seen = {row["key"]: row["value"] for row in json.loads(out)["maps"]["calls"]}
        assert all(seen[key] for key in range(keys)), f"{sides}: {seen}"
    assert not lab.text_differences(target.pid), "text was not restored"


def callers_compiled_by_gcc():
    _probed("gcc", COMMON + ("leaves_alone",))


def callers_compiled_by_clang():
    lab.need("clang")
    _probed("clang", COMMON + ("preserving", "__regcall3__many_registers"))


HIT_FOLDERS = ("base", "sync", "format", "arch", "maps", "exec", "hook", "unwind", "helpers")
VECTOR = re.compile(r"%([xyz]?mm[0-9]|st\b|k[0-7]\b)|\s(f(ld|st|ild|add|mul|ninit|xsave|xrstor)|x(save|rstor)|emms|vzero)")


def no_code_at_a_hit_names_a_vector_register():
    """Everything the hit folders were compiled to, ours for the host and the agent's own: disassembled."""
    lab.need("objdump")
    if os.environ.get("INLAY_SANITIZED") or "asan" in lab.BUILD or "tsan" in lab.BUILD:
        raise lab.Skip("a sanitizer instruments the code")
    objects = [name for folder in HIT_FOLDERS
               for name in glob.glob(f"{lab.BUILD}/src/libinlay-{folder}.a.p/**/*.o", recursive=True)]
    folders = "|".join(HIT_FOLDERS)
    objects += [name for name in glob.glob(f"{lab.BUILD}/src/inlay-agent.so.p/**/*.o", recursive=True)
                if re.match(rf"({folders})_", os.path.basename(name))]
    assert len(objects) > 100, f"only {len(objects)} objects found"
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", *objects], capture_output=True, text=True, check=True).stdout
    instructions = [line for line in text.splitlines() if line.startswith(" ")]
    assert len(instructions) > 50000, len(instructions)
    bad = [line.strip() for line in instructions if VECTOR.search(line)]
    assert not bad, f"{len(bad)} instructions: {bad[:5]}"


lab.run(callers_compiled_by_gcc, callers_compiled_by_clang, no_code_at_a_hit_names_a_vector_register)
