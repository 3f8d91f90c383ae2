#!/usr/bin/env python3
"""gdb and perf on a probed process: they know generated code by name, and gdb finds the callers from every instruction of it."""
import json
import os
import re
import signal
import subprocess
import time

import lab

PROBES = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
static __noinline int count(void *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&calls, &zero);

	if (value)
		__sync_fetch_and_add(value, bpf_get_current_pid_tgid() | 1); /* the clock's reads wait for a tick that passes at each step */
	return 0;
}
SEC("uprobe//proc/self/exe:add_two") int enters(void *ctx) { return count(ctx); }
SEC("uretprobe//proc/self/exe:add_two") int leaves(void *ctx) { return count(ctx); }
SEC("fentry//proc/self/exe:add_two") int typed_enters(void *ctx) { return count(ctx); }
SEC("fexit//proc/self/exe:add_two") int typed_leaves(void *ctx) { return count(ctx); }
"""

# Run inside gdb. WANT: the callers' names, or None to print them at the function's first instruction.
SCRIPT = """
import gdb, json, os
def names():
    frame, found = gdb.newest_frame(), []
    while frame:
        found.append(frame.name() or "?")
        frame = frame.older()
    return found
gdb.execute("set pagination off")
gdb.execute("break *&add_two")
gdb.execute("continue")
want = json.loads(os.environ["WANT"])
if want is None:
    print("CALLERS", json.dumps(names()[1:]))
else:
    gdb.execute("delete")
    steps, wrong, seen = 0, [], set()
    while True:
        found = names()
        seen.update(found)
        # Counted from the outermost in: what is innermost is the function, or generated code, or what that calls.
        if found[-len(want):] != want:
            wrong.append((hex(gdb.newest_frame().pc()), found))
        if found == want or len(wrong) > 5 or steps > 20000:
            break
        gdb.execute("stepi", to_string=True)
        steps += 1
    print("STEPPED", json.dumps([steps, wrong, sorted(seen)]))
gdb.execute("detach")
"""


def _gdb(pid, *commands, **environment):
    lab.need("gdb")
    result = subprocess.run(["gdb", "-q", "-batch", "-nx", "-p", str(pid), *[word for row in commands for word in ("-ex", row)]],
                            capture_output=True, text=True, timeout=300, check=False, env=os.environ | environment)
    return result.stdout + result.stderr


def _script(pid, want):
    path = os.path.join(lab.folder(), "script.py")
    with open(path, "w", encoding="utf-8") as out:
        out.write(SCRIPT)
    out = _gdb(pid, f"source {path}", WANT=json.dumps(want))
    row = re.search(r"^(CALLERS|STEPPED) (.*)$", out, re.M)
    assert row, out
    return json.loads(row.group(2))


def _victim(*arguments):
    lab.need("pahole")
    target = lab.start([lab.victim("typed"), *arguments], stdout=subprocess.PIPE, text=True)
    os.set_blocking(target.stdout.fileno(), False)
    time.sleep(0.1)
    return target


def _alive(target):
    assert target.poll() is None, target.stdout.read()


def _signals(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
        return [line for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]


def callers_at_every_instruction():
    target = _victim()
    want = _script(target.pid, None)
    assert want[-1] == "main", want
    attachment = lab.Attachment(target.pid, lab.compile_bpf(PROBES))
    steps, wrong, seen = _script(target.pid, want)
    assert not wrong, wrong
    kinds = ["bpf_stub_entry_", "bpf_stub_return_", "bpf_stub_exit_", "bpf_trampoline_entry_", "bpf_trampoline_return_",
             "bpf_trampoline_exit_", *(f"bpf_prog_[0-9a-f]{{16}}_{name}" for name in ("enters", "leaves", "typed_enters", "typed_leaves"))]
    missing = [kind for kind in kinds if not any(re.match(kind, name) for name in seen)]
    assert not missing, (missing, seen)
    print(f"# {steps} instruction boundaries")
    assert steps > 250, steps
    status, _, err = attachment.finish()
    assert status == 0 and not re.search(r": 0 hits", err), err
    _alive(target)
    assert not lab.text_differences(target.pid)


def code_that_is_freed_is_forgotten():
    """The debugger is there, and the program runs, when programs go: it is told, and nobody's SIGTRAP handler is lost."""
    lab.need("gdb")
    target = _victim("traps")
    before = _signals(target.pid)
    attachment = lab.Attachment(target.pid, lab.compile_bpf(PROBES))
    gdb = lab.start(["gdb", "-q", "-nx", "-p", str(target.pid), "-ex", "set pagination off", "-ex", "set confirm off",
                     "-ex", "info functions bpf_", "-ex", "echo RUNS\\n", "-ex", "continue"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shown = ""
    while "RUNS" not in shown:
        line = gdb.stdout.readline()
        assert line, shown
        shown += line
    assert "bpf_prog_" in shown and "bpf_trampoline_entry_" in shown, shown
    time.sleep(0.5)
    attachment.finish()
    lab.wait_for(lambda: _signals(target.pid) == before, "the program's signal handlers to be what they were")
    os.kill(target.pid, signal.SIGINT)
    out, _ = gdb.communicate("info functions bpf_\nsignal 0 &\ndetach\nquit\n", timeout=60)
    # Stubs stay: a thread may stand in one for ever.
    assert "bpf_stub_entry_" in out and "bpf_prog_" not in out and "bpf_trampoline_" not in out, out
    time.sleep(0.1)
    _alive(target)
    assert not lab.text_differences(target.pid)


def a_later_attachment_is_seen_again():
    """The agent's threads ended with the first one, and its file was closed."""
    target = _victim()
    for _ in range(2):
        attachment = lab.Attachment(target.pid, lab.compile_bpf(PROBES))
        out = _gdb(target.pid, "info functions bpf_prog_")
        assert len(set(re.findall(r"bpf_prog_[0-9a-f]{16}_(\w+)", out))) == 4, out
        attachment.finish()
    _alive(target)


def a_traced_process_is_refused():
    lab.need("gdb")
    target = _victim()
    gdb = lab.start(["gdb", "-q", "-nx", "-p", str(target.pid), "-ex", "echo RUNS\\n", "-ex", "continue"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while "RUNS" not in (line := gdb.stdout.readline()):
        assert line
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", lab.compile_bpf(PROBES))
    assert result.returncode and "trace" in result.stderr, result.stderr
    os.kill(target.pid, signal.SIGINT)
    gdb.communicate("signal 0 &\ndetach\nquit\n", timeout=60)
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", lab.compile_bpf(PROBES))
    assert result.returncode == 0, result.stderr
    _alive(target)


def _perf_map(pid):
    with open(f"/tmp/perf-{pid}.map", encoding="utf-8") as lines:
        return [line.split() for line in lines]


def a_perf_map_names_generated_code():
    lab.need("perf")
    target = _victim()
    path = f"/tmp/perf-{target.pid}.map"
    attachment = lab.Attachment(target.pid, lab.compile_bpf(PROBES), "--perf-map")
    rows = _perf_map(target.pid)
    code = [(begin, end) for begin, end, permissions, _, _ in lab.maps_of(target.pid) if "x" in permissions]
    assert all(any(begin <= int(row[0], 16) < int(row[0], 16) + int(row[1], 16) <= end for begin, end in code) for row in rows), rows
    programs = sorted(re.sub(r"^bpf_prog_[0-9a-f]{16}_", "", row[2]) for row in rows if row[2].startswith("bpf_prog_"))
    assert programs == ["enters", "leaves", "typed_enters", "typed_leaves"], rows
    assert len({row[2] for row in rows}) == len(rows) == 4 + 3 + 3, rows
    # Without a name of its memory our code is recognised all the same.
    lab.inlay("attach", "-p", target.pid, "--duration", "0.1", lab.compile_bpf(PROBES)).check_returncode()
    attachment.finish()
    assert not os.path.exists(path)
    _alive(target)


def perf_report_shows_programs():
    lab.need("perf", "redis-server")
    redis = lab.Redis()
    redis.load()
    data = os.path.join(lab.folder(), "perf.data")
    probe = 'SEC("uprobe//proc/self/exe:dictFind") int finds(void *ctx) { return bpf_get_current_pid_tgid() & 1; }'
    attachment = lab.Attachment(redis.pid, lab.compile_bpf(probe), "--perf-map")
    record = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock:u", "-F", "20000", "-o", data, "-p", str(redis.pid), "sleep", "1.5"],
                            capture_output=True, text=True, check=False)
    if record.returncode:
        raise lab.Skip("perf cannot record here: " + record.stderr.strip()[:80])
    report = subprocess.run(["perf", "report", "-i", data, "--stdio", "--sort", "sym"], capture_output=True, text=True, check=False).stdout
    attachment.finish()
    assert re.search(r"bpf_prog_[0-9a-f]{16}_finds", report) and "bpf_trampoline_entry_" in report, report[:3000]


def a_perf_map_of_the_program_is_kept():
    target = _victim()
    path = f"/tmp/perf-{target.pid}.map"
    with open(path, "w", encoding="utf-8") as out:
        out.write("1000 10 own_code\n")
    try:
        lab.inlay("attach", "-p", target.pid, "--duration", "0.1", "--perf-map", lab.compile_bpf(PROBES))
        rows = _perf_map(target.pid)
        assert rows[0] == ["1000", "10", "own_code"] and len({tuple(row) for row in rows}) == len(rows) > 10, rows
        os.unlink(path)
        os.symlink("/tmp/elsewhere", path)
        result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", "--perf-map", lab.compile_bpf(PROBES))
        assert result.returncode == 1 and "perf map" in result.stderr, result.stderr
        assert not os.path.exists("/tmp/elsewhere")
    finally:
        os.unlink(path)
    _alive(target)


if __name__ == "__main__":
    lab.need_root()
    lab.run(callers_at_every_instruction, code_that_is_freed_is_forgotten, a_later_attachment_is_seen_again, a_traced_process_is_refused,
            a_perf_map_names_generated_code, perf_report_shows_programs, a_perf_map_of_the_program_is_kept)
