#!/usr/bin/env python3
"""Tail calls inside a running target: slots that change under load, from the loader, and its death."""
import re
import signal
import subprocess
import sys
import time

import lab

OBJECT = """
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u32); } jumps SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 8); __type(key, __u32); __type(value, __u64); } seen SEC(".maps");
static __always_inline void add(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}
volatile const __u32 zero = 0;

/* Counts itself, and one more: which way it went. */
SEC("uprobe") int direct(struct pt_regs *ctx) { add(0); bpf_tail_call_static(ctx, &jumps, 0); add(3); return 0; }
SEC("uprobe") int indirect(struct pt_regs *ctx)
{
	__u64 key = PT_REGS_PARM2(ctx) - 7;

	add(0);
	bpf_tail_call(ctx, &jumps, key);
	add(3);
	return 0;
}
static __attribute__((noinline)) int inner(struct pt_regs *ctx)
{
	volatile __u64 own[4] = {1, 2, 3, 4};

	bpf_tail_call_static(ctx, &jumps, 1);
	add(3);
	return own[0] + own[3];
}
/* What the subprogram's callee returns, or its own 5. */
SEC("uprobe") int through(struct pt_regs *ctx)
{
	int result;

	add(0);
	result = inner(ctx);
	if (result != 5 && result != 11 && result != 12)
		add(6);
	return 0;
}
SEC("uprobe") int one(struct pt_regs *ctx) { add(1); return 11; }
SEC("uprobe") int two(struct pt_regs *ctx) { add(2); return 12; }
/* Slot 0 to slot 2 and back, until the count runs out: 33 calls a run. */
SEC("uprobe") int again(struct pt_regs *ctx) { add(4); bpf_tail_call_static(ctx, &jumps, 2); add(5); return 0; }
"""


class Client:
    """tests/e2e/tail_client.c under `inlay run`."""

    def __init__(self, target, **environment):
        binary = lab.victim("caller")
        self.process = lab.start([lab.INLAY, "run", "--", lab.os.path.join(lab.BUILD, "tests", "e2e", "tail_client"),
                                  lab.compile_bpf(OBJECT), str(target.pid), binary, hex(file_offset(binary, "victim_work"))],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 env={**lab.os.environ, **environment})

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, f"{command}: the client died"
        return answer

    def do(self, command):
        answer = self.ask(command)
        assert answer == "0", f"{command}: {answer}"

    def seen(self):
        return [int(word) for word in self.ask("read").split()]

    def ways(self):
        """Which of one, two and falling through have been gone since the last look."""
        before = self.seen()
        lab.wait_for(lambda: self.seen()[0] > before[0] + 500, "hits")
        return [a - b for a, b in zip(self.seen(), before)]


def file_offset(path, symbol):
    names = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    address = int(re.search(rf"^([0-9a-f]+) [tT] {symbol}$", names, re.M).group(1), 16)
    segments = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    for offset, start, size in re.findall(r"LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", segments):
        if int(start, 16) <= address < int(start, 16) + int(size, 16):
            return address - int(start, 16) + int(offset, 16)
    raise AssertionError(f"{symbol} is in no segment")


def _start(**environment):
    lab.need("nm", "readelf")
    target = lab.start([lab.victim("caller")])
    time.sleep(0.1)
    return target, Client(target, **environment)


def _goes(client, way):
    """Since a change of a slot has returned, every hit goes this way (1, 2 or 3: through)."""
    moved = client.ways()
    others = {1, 2, 3} - {way}
    # The one thread may have been on its old way when the slot changed.
    assert moved[way] >= 499 and sum(moved[i] for i in others) <= 1, (way, moved)


def _all_states(program, slot):
    target, client = _start()
    client.do(f"attach {program}")
    _goes(client, 3)
    client.do(f"set {slot} one")
    _goes(client, 1)
    client.do(f"set {slot} two")
    _goes(client, 2)
    client.do(f"set {slot} -")
    _goes(client, 3)
    client.do(f"set {slot} one")
    _goes(client, 1)
    client.do("detach")
    assert not lab.text_differences(target.pid)
    # Attached again with the slot full, and the slot changed while nothing was attached.
    client.do(f"attach {program}")
    _goes(client, 1)
    client.do("detach")
    client.do(f"set {slot} two")
    client.do(f"attach {program}")
    _goes(client, 2)
    assert client.seen()[6] == 0 and target.poll() is None


def a_direct_call_follows_its_slot():
    _all_states("direct", 0)


def an_indirect_call_follows_its_slot():
    _all_states("indirect", 0)


def a_call_from_a_subprogram_follows_its_slot():
    _all_states("through", 1)


def a_chain_ends_after_33_calls():
    target, client = _start()
    client.do("set 2 again")
    client.do("set 0 again")
    client.do("attach direct")
    client.ways()
    client.do("detach")
    seen = client.seen()
    assert seen[4] == 33 * seen[0] and seen[5] == seen[0], seen
    assert target.poll() is None


def slots_change_at_full_speed_under_load():
    seconds = max(2, int(lab.STRESS))
    for program in ("direct", "through"):
        target, client = _start()
        client.do(f"attach {program}")
        updates = int(client.ask(f"storm {seconds}"))
        assert updates > 50, updates
        client.do("detach")
        seen = client.seen()
        assert seen[0] > 100 and seen[1] + seen[2] + seen[3] == seen[0] and seen[6] == 0, seen
        assert target.poll() is None and not lab.text_differences(target.pid)
        print(f"# {program}: {updates} updates, {seen[0]} hits: {seen[1:4]}")
        target.kill()


def another_process_changes_the_slot():
    """bpftool, as a process of its own: when it has ended, the target goes the new way."""
    bpftool = lab.shutil.which("bpftool") or "/usr/sbin/bpftool"
    if not lab.os.path.exists(bpftool):
        raise lab.Skip("bpftool is not installed")
    environment = {"INLAY_REGISTRY": lab.os.path.join(lab.folder(), "registry")}
    target, client = _start(**environment)
    client.do("attach through")
    _goes(client, 3)
    key = ["name", "jumps", "key", "1", "0", "0", "0"]
    for way, name in ((1, "one"), (2, "two"), (1, "one")):
        subprocess.run([lab.INLAY, "run", "--", bpftool, "map", "update", *key, "value", "name", name], check=True,
                       env={**lab.os.environ, **environment})
        _goes(client, way)
    subprocess.run([lab.INLAY, "run", "--", bpftool, "map", "delete", *key], check=True, env={**lab.os.environ, **environment})
    _goes(client, 3)
    assert target.poll() is None


def the_loader_is_killed_in_the_middle():
    target, client = _start()
    client.do("set 1 one")
    client.do("attach through")
    client.ways()
    client.process.stdin.write("storm 20\n")
    client.process.stdin.flush()
    time.sleep(0.3)
    client.process.send_signal(signal.SIGKILL)
    lab.wait_for(lambda: not lab.text_differences(target.pid), "the text to be restored")
    lab.wait_for(lambda: len(lab.os.listdir(f"/proc/{target.pid}/task")) == 1, "the agent to leave")
    time.sleep(0.1)
    assert target.poll() is None
    # And again by another loader.
    client = Client(target)
    client.do("set 0 two")
    client.do("attach direct")
    _goes(client, 2)


if __name__ == "__main__":
    if lab.SANITIZED:
        print("1..0 # SKIP a library with a sanitizer cannot be put in front of programs without")
        sys.exit(0)
    lab.run(a_direct_call_follows_its_slot, an_indirect_call_follows_its_slot, a_call_from_a_subprogram_follows_its_slot,
            a_chain_ends_after_33_calls, slots_change_at_full_speed_under_load, another_process_changes_the_slot, the_loader_is_killed_in_the_middle)
