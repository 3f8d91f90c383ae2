#!/usr/bin/env python3
"""A live redis-server: exact hit counts, attachment under load, and what survives whose death."""
import json
import os
import re
import signal
import subprocess
import time

import lab

EXE = "/proc/self/exe"


def calls(output):
    """The value of the array `calls` in the JSON that inlay attach --json prints."""
    return json.loads(output)["maps"]["calls"][0]["value"]


def hits_equal_commands_processed():
    redis = lab.Redis()
    attachment = lab.Attachment(redis.pid, lab.count_program(EXE, "processCommand"), "--json")
    before = redis.info("total_commands_processed")
    load = redis.load(requests=200000)
    assert load.wait(60) == 0
    after = redis.info("total_commands_processed")
    status, out, err = attachment.finish()
    assert status == 0, err
    # The two INFO commands: the first is hit but not yet counted when it reports, the second likewise.
    assert calls(out) == after - before + 1, (calls(out), before, after)
    assert re.search(r"\b0 missed", err) or "missed" not in err, err


def attach_detach_cycles_under_load():
    cycles = 200
    redis = lab.Redis()
    assert redis.ask("SET", "key:000000000001", "witness").startswith("+OK")
    load = redis.load()
    obj = lab.count_program(EXE, "processCommand")
    for cycle in range(cycles):
        result = lab.inlay("attach", "-p", redis.pid, "--duration", "0.02", "--json", obj)
        assert result.returncode == 0, (cycle, result.stderr)
        if cycle % 20 == 0:
            assert redis.ask("GET", "key:000000000001") == "$7\r\nwitness\r\n"
    assert load.poll() is None, "redis-benchmark ended: " + load.stdout.read().decode()
    load.kill()
    assert redis.process.poll() is None, "redis-server died"
    assert redis.ask("PING") == "+PONG\r\n"
    assert lab.text_differences(redis.pid) == []


def every_reply_is_right_while_attaching():
    """redis-benchmark ends with an error when a reply is wrong; so does this client, which knows each value."""
    redis = lab.Redis()
    obj = lab.count_program(EXE, "processCommand")
    for i in range(500):
        redis.ask("SET", f"k{i}", f"value-{i}")
    attach = lab.start(["sh", "-c", f"for i in $(seq 20); do {lab.INLAY} attach -p {redis.pid} --duration 0.05 {obj} || exit 1; done"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checked = 0
    while attach.poll() is None:
        i = checked % 500
        assert redis.ask("GET", f"k{i}") == f"${len(f'value-{i}')}\r\nvalue-{i}\r\n"
        checked += 1
    assert attach.returncode == 0
    assert checked > 100, checked


def killed_loader_restores_the_text():
    redis = lab.Redis()
    load = redis.load()
    attachment = lab.Attachment(redis.pid, lab.count_program(EXE, "processCommand"))
    assert lab.text_differences(redis.pid), "nothing was patched"
    attachment.process.send_signal(signal.SIGKILL)
    lab.wait_for(lambda: not lab.text_differences(redis.pid), "the text to be restored", 10)
    time.sleep(0.2)
    assert load.poll() is None and redis.process.poll() is None
    again = lab.Attachment(redis.pid, lab.count_program(EXE, "processCommand"), "--json")
    time.sleep(0.2)
    status, out, err = again.finish()
    assert status == 0 and calls(out) > 0, err


def killed_target_is_told():
    redis = lab.Redis()
    attachment = lab.Attachment(redis.pid, lab.count_program(EXE, "processCommand"), "--json")
    for _ in range(10):
        redis.ask("PING")
    redis.process.send_signal(signal.SIGKILL)
    redis.process.wait()
    status, out, err = attachment.finish(number=None)
    assert status == 1, (status, err)
    assert "exited" in err or "killed" in err or "gone" in err, err
    assert calls(out) >= 10, out


def nothing_reaches_the_kernels_bpf():
    lab.need("strace")
    lab.need_plain("leaks cannot be looked for under strace, nor a sanitized library put in front of bpftool")
    redis = lab.Redis()
    trace = os.path.join(lab.folder(), "trace")
    strace = ["strace", "-f", "-o", trace, "-e", "trace=bpf,perf_event_open"]
    attachment = lab.Attachment(redis.pid, lab.count_program(EXE, "processCommand"), wrapper=strace)
    redis.ask("PING")
    # strace passes the signal on only to itself; end the traced command.
    child = int(open(f"/proc/{attachment.process.pid}/task/{attachment.process.pid}/children", encoding="ascii").read().split()[0])
    os.kill(child, signal.SIGINT)
    status, _, err = attachment.finish(number=None)
    assert status == 0, err
    run = subprocess.run([*strace, "-A", lab.INLAY, "run", "--", "bpftool", "prog", "list"], capture_output=True, text=True,
                         timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    lines = [l for l in open(trace, encoding="utf-8") if re.search(r"\b(bpf|perf_event_open)\(", l)]
    assert not lines, lines[:5]


lab.run(hits_equal_commands_processed, killed_loader_restores_the_text, killed_target_is_told,
        nothing_reaches_the_kernels_bpf, every_reply_is_right_while_attaching, attach_detach_cycles_under_load)
