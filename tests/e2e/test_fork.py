#!/usr/bin/env python3
"""Targets that fork: children that go on in patched text, and children that are attached to themselves."""
import json
import re
import signal
import subprocess
import threading
import time

import lab

EXE = "/proc/self/exe"
CYCLES = 60


class Server:
    """tests/victims/prefork.c"""

    def __init__(self):
        self.process = lab.start([lab.victim("prefork")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def ask(self, command):
        self.process.stdin.write(command)
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def fork(self):
        return int(self.ask("f"))

    def end(self):
        """The exit codes of all workers; one that hangs is a failure."""
        timer = threading.Timer(30, self.process.kill)
        timer.start()
        codes = self.ask("q")
        timer.cancel()
        assert codes.startswith("ended"), "a worker hangs"
        assert self.process.wait(10) == 0
        return [int(code) for code in codes.split()[1:]]


def both_sides(*functions):
    """An object with an entry and a return probe on each function: calls[0] and calls[1]."""
    body = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
static void add(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&calls, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}
"""
    for i, function in enumerate(functions):
        body += f"""
SEC("uprobe/{EXE}:{function}") int entry{i}(struct pt_regs *ctx) {{ add(0); return 0; }}
SEC("uretprobe/{EXE}:{function}") int return{i}(struct pt_regs *ctx) {{ add(1); return 0; }}
"""
    return lab.compile_bpf(body)


def calls(output):
    return [row["value"] for row in json.loads(output)["maps"]["calls"]]


def cycle(pid, obj, count, seconds="0.02"):
    for i in range(count):
        result = lab.inlay("attach", "-p", pid, "--duration", seconds, "--json", obj)
        assert result.returncode == 0, (i, result.stderr)


def workers_forked_before_during_and_after():
    server = Server()
    obj = both_sides("work", "serve", "fork_worker")
    server.fork()
    attachment = lab.Attachment(server.pid, obj, "--json")
    during = [server.fork() for _ in range(3)]
    status, out, err = attachment.finish()
    assert status == 0, err
    # fork_worker's return is counted in each child as well, whose map it is too.
    entries, returns = calls(out)
    assert entries >= 6 and returns >= 6, (entries, returns)
    assert lab.text_differences(server.pid) == []
    assert lab.text_differences(during[0]), "the child was forked with the patches"
    server.fork()
    # They go on in what the parent frees and writes anew.
    cycle(server.pid, obj, 20)
    cycle(server.pid, lab.count_program(EXE, "work"), 10)
    server.fork()
    assert server.end() == [0] * 6


def workers_forked_while_attaching():
    server = Server()
    obj = both_sides("work", "serve", "fork_worker", "run_commands")
    attach = lab.start(["sh", "-c", f"for i in $(seq 30); do {lab.INLAY} attach -p {server.pid} --duration 0.01 {obj} || exit 1; done"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    forks = 0
    while attach.poll() is None:
        if forks < 60:
            server.fork()
            forks += 1
        time.sleep(0.05)
    assert attach.returncode == 0, attach.stderr.read()
    assert forks > 10, forks
    assert lab.text_differences(server.pid) == []
    assert server.end() == [0] * forks


def commands_run_inside_a_probed_function():
    """system(), posix_spawn() and vfork() between the entry and the return of a probed function."""
    server = Server()
    attachment = lab.Attachment(server.pid, both_sides("run_commands"), "--json")
    for _ in range(20):
        assert server.ask("s") == "7 8 9"
    status, out, err = attachment.finish()
    assert status == 0, err
    assert calls(out) == [20, 20], out
    assert server.end() == []


def a_worker_is_attached_to():
    """While its parent is probed and after; text and counts are its own."""
    server = Server()
    obj = lab.count_program(EXE, "work")
    parent = lab.Attachment(server.pid, obj, "--json")
    worker = server.fork()
    for _ in range(2):
        child = lab.Attachment(worker, obj, "--json")
        time.sleep(0.3)
        status, out, err = child.finish()
        assert status == 0, err
        assert json.loads(out)["maps"]["calls"][0]["value"] > 100, out
        assert lab.text_differences(worker) == []
        assert lab.text_differences(server.pid), "the parent's patches went too"
    status, out, err = parent.finish()
    assert status == 0, err
    assert lab.text_differences(server.pid) == []
    child = lab.Attachment(worker, both_sides("work"), "--json")
    time.sleep(0.2)
    status, out, err = child.finish()
    assert status == 0, err
    assert min(calls(out)) > 100, out
    assert server.end() == [0]


MAPS = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } by_pid SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } slots SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
SEC("uprobe//proc/self/exe:work") int count(struct pt_regs *ctx)
{
	__u32 zero = 0, pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1, *value = bpf_map_lookup_elem(&calls, &zero);

	if (value)
		__sync_fetch_and_add(value, 1);
	value = bpf_map_lookup_elem(&by_pid, &pid);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&by_pid, &pid, &one, BPF_ANY);
	value = bpf_map_lookup_elem(&slots, &zero);
	if (value)
		*value += 1;
	bpf_ringbuf_output(&ring, &pid, sizeof(pid), 0);
	return 0;
}
"""


def maps_are_used_by_a_child():
    """A child is no participant: what needs a lock is missed there, and nobody waits for it."""
    server = Server()
    attachment = lab.Attachment(server.pid, lab.compile_bpf(MAPS), "--json")
    for _ in range(10):
        server.ask("s")
    workers = [server.fork() for _ in range(2)]
    time.sleep(0.5)
    for _ in range(10):
        assert server.ask("s") == "7 8 9"
    status, out, err = attachment.finish()
    assert status == 0, err
    by_pid = {row["key"]: row["value"] for row in json.loads(out)["maps"]["by_pid"]}
    assert by_pid.get(server.pid) == 22, by_pid
    assert set(by_pid) <= {server.pid, *workers}, by_pid
    cycle(server.pid, lab.count_program(EXE, "work"), 5)
    assert server.end() == [0, 0]


def a_target_executes_itself_anew():
    """The probes end with the old program; the new one can be attached to."""
    server = Server()
    for _ in range(3):
        attachment = lab.Attachment(server.pid, both_sides("run_commands", "work"), "--json")
        assert server.ask("s") == "7 8 9"
        assert server.ask("x") == "new"
        assert lab.text_differences(server.pid) == []
        status, out, err = attachment.finish()
        assert status in (0, 1), (status, err)
        assert calls(out) == [2, 2], (out, err)
        assert lab.text_differences(server.pid) == []
    assert server.end() == []


class Saver(threading.Thread):
    """BGSAVE in a loop; each must succeed."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.redis, self.stop, self.saves, self.failure = redis, False, 0, None

    def _save(self):
        assert "started" in self.redis.ask("BGSAVE")
        lab.wait_for(lambda: "rdb_bgsave_in_progress:0" in self.redis.ask("INFO", "persistence"), "the save to end", 20)
        info = self.redis.ask("INFO", "persistence")
        assert "rdb_last_bgsave_status:ok" in info, re.findall(r"rdb_last\S+", info)
        self.saves += 1

    def run(self):
        try:
            while not self.stop:
                self._save()
        except (AssertionError, OSError) as error:
            self.failure = error


def redis_saves_in_the_background():
    redis = lab.Redis()
    subprocess.run(["redis-benchmark", "-p", str(redis.port), "-t", "set", "-r", "100000", "-n", "200000", "-P", "32", "-q"],
                   stdout=subprocess.DEVNULL, check=True, timeout=60)
    for i in range(500):
        redis.ask("SET", f"k{i}", f"value-{i}")
    load = redis.load()
    saver = Saver(redis)
    saver.start()
    cycle(redis.pid, both_sides("processCommand", "rdbSaveStringObject", "rdbSaveLen", "rdbSaveType"), CYCLES, "0.03")
    saver.stop = True
    saver.join(30)
    assert not saver.is_alive() and saver.failure is None, saver.failure
    assert saver.saves >= 5, saver.saves
    assert load.poll() is None, "redis-benchmark ended: " + load.stdout.read().decode()
    load.kill()
    assert redis.process.poll() is None, "redis-server died"
    assert redis.ask("GET", "k77") == "$8\r\nvalue-77\r\n"
    assert lab.text_differences(redis.pid) == []
    redis.process.send_signal(signal.SIGTERM)
    assert redis.process.wait(20) == 0


lab.run(workers_forked_before_during_and_after, workers_forked_while_attaching, commands_run_inside_a_probed_function,
        a_worker_is_attached_to, maps_are_used_by_a_child, a_target_executes_itself_anew,
        redis_saves_in_the_background)
