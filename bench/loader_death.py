#!/usr/bin/env python3
"""How long do sites stay patched after the loader was killed?

A loader attached to a redis-server under load gets SIGKILL; the time until the server's text equals its file again is
taken by reading the site through /proc/PID/mem. One JSON line, in milliseconds, over 11 kills.
"""
import json
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("INLAY_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")),
                                "tests", "e2e"))
import lab  # noqa: E402  pylint: disable=wrong-import-position

redis = lab.Redis()
load = redis.load()
obj = lab.count_program("/proc/self/exe", "processCommand")
times = []
for _ in range(11):
    attachment = lab.Attachment(redis.pid, obj)
    path, offset, _, original = lab.text_differences(redis.pid)[0]
    base = next(begin - off for begin, end, perms, off, name in lab.maps_of(redis.pid)
                if name == path and "x" in perms and off <= offset < off + end - begin)
    with open(f"/proc/{redis.pid}/mem", "rb", buffering=0) as memory:
        started = time.perf_counter()
        attachment.process.send_signal(signal.SIGKILL)
        while os.pread(memory.fileno(), 1, base + offset)[0] != original:
            pass
        times.append((time.perf_counter() - started) * 1000)
    attachment.process.wait()
print(json.dumps({"bench": "loader_death", "variant": "redis-server under load, one site", "metric": "restored after",
                  "unit": "ms", "value": round(statistics.median(times), 3), "spread": round(max(times) - min(times), 3)}))
