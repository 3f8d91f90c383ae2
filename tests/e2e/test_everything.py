#!/usr/bin/env python3
"""One program on every function of the executable and of libc, in processes that work: their results stay the same."""
import os
import re
import subprocess
import textwrap

import lab

COUNT_ALL = """
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
static int count(void)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&calls, &zero);

	if (value)
		*value += 1;
	return 0;
}
SEC("uprobe.multi//proc/self/exe:*") int executable(struct pt_regs *ctx) { return count(); }
SEC("uprobe.multi/libc:*") int library(struct pt_regs *ctx) { return count(); }
"""

# What test_json, test_re and test_threading exercise, at work until told to stop; each round must give what the first gave.
WORK = """
    import hashlib, json, re, subprocess, sys, threading, time

    def work(seed):
        data = {str(i): [i * seed, {"a": i % 7}, float(i) / 3] for i in range(200)}
        text = json.dumps(data, sort_keys=True)
        assert json.loads(text) == data
        more = re.sub(r"(\\\\d+)", lambda m: str(int(m.group(1)) + 1), text)
        sums = []
        threads = [threading.Thread(target=lambda: sums.append(sum(map(len, re.findall(r'"\\\\w+"', text))))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            json.loads(text[:-1])
        except ValueError as error:
            more += str(error)
        return hashlib.sha256((more + str(sums)).encode()).hexdigest()

    first = [work(seed) for seed in range(5)]
    print("ready", flush=True)
    end, rounds = time.time() + float(sys.argv[1]), 0
    while time.time() < end:
        assert [work(seed) for seed in range(5)] == first
        assert subprocess.run(["/bin/echo", "x"], capture_output=True).stdout == b"x\\\\n"
        rounds += 1
    print(rounds, *first)
"""


def _attached(result):
    """How many functions, how many hits; fails when the attachment did."""
    assert result.returncode == 0, result.stderr
    functions = int(re.search(r"attached 2 programs to (\d+) functions", result.stderr).group(1))
    hits = sum(int(n) for n in re.findall(r": (\d+) hits", result.stderr))
    return functions, hits


def _start_python(seconds):
    script = textwrap.dedent(WORK).replace("\\\\", "\\")
    process = lab.start(["/usr/bin/python3", "-c", script, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def python_works_on():
    seconds = max(8, lab.STRESS)
    quiet = _start_python(0)
    plain = quiet.communicate()[0].split()
    process = _start_python(seconds)
    functions, hits = _attached(lab.inlay("attach", "-p", process.pid, "--duration", str(seconds / 2),
                                          lab.compile_bpf(COUNT_ALL)))
    differences = lab.text_differences(process.pid)
    out = process.communicate()[0].split()
    assert process.returncode == 0, process.returncode
    assert int(out[0]) > 0 and out[1:] == plain[1:], (out, plain)
    assert not differences, differences
    assert functions > 3000 and hits > 100000, (functions, hits)
    print(f"# {functions} functions, {hits} hits, {out[0]} rounds")


def redis_works_on():
    redis = lab.Redis()
    load = lab.start(["redis-benchmark", "-p", str(redis.port), "-n", "100000000", "-c", "8", "-P", "4", "-q"],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(2):
        functions, hits = _attached(lab.inlay("attach", "-p", redis.pid, "--duration", "2", lab.compile_bpf(COUNT_ALL)))
        assert functions > 6000 and hits > 100000, (functions, hits)
        assert not lab.text_differences(redis.pid)
    load.kill()
    answer = redis.ask("PING")
    assert answer == "+PONG\r\n", answer
    print(f"# {functions} functions, {hits} hits")


# IFUNCs have no entry of their own in a file; a process shows which implementation it uses.
NOT_ENTRIES = "its implementation is chosen when the program starts"


def nearly_all_can_be_entered():
    """At least 98 % of the functions of what people run, none by a trap; and each that cannot be says why."""
    files = ["/usr/bin/python3.11", "/usr/bin/redis-server", "/usr/sbin/nginx"]
    files += [f"/usr/lib/x86_64-linux-gnu/{name}" for name in ("libc.so.6", "libsqlite3.so.0")]
    missing = [name for name in files if not os.path.exists(name)]
    if missing:
        raise lab.Skip(f"{', '.join(missing)} not installed")
    for name in files:
        rows = [row for row in lab.inlay("list", name, "-v").stdout.splitlines() if NOT_ENTRIES not in row]
        ways = {"no": 0, "nop": 0, "whole instruction": 0, "relocated": 0}
        for row in rows:
            way = re.match(r"\S+\s+0x[0-9a-f]+\s+\S+\s+(no(?=:)|nop|whole instruction|relocated)(.*)", row)
            assert way and (way.group(1) != "no" or len(way.group(2)) > 5), row
            assert "trap" not in way.group(2), row
            ways[way.group(1)] += 1
        print(f"# {name}: {len(rows)} functions: " + ", ".join(f"{count} {way}" for way, count in ways.items()))
        assert len(rows) > 500 and ways["no"] <= 0.02 * len(rows), (name, ways)


lab.run(python_works_on, redis_works_on, nearly_all_can_be_entered)
