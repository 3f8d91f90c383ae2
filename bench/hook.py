#!/usr/bin/env python3
"""What does a probe cost the function it is on? parts/hook_probes has ours, hand-written floors, int3 and the kernel's uprobes;
then LTTng-UST and uftrace, each in a process of its own, over the bare function of that process. Ratios to the floors
that do the same work follow. What is not installed is left out, with a word why (tools/install-deps.sh bench)."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

parts = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parts")
memory = "/dev/shm" if os.path.isdir("/dev/shm") else None


def skip(what, why):
    print(f"hook: no {what}: {why}", file=sys.stderr)


def rows_of(command, **options):
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **options)
    rows = [line for line in run.stdout.splitlines() if line.startswith("{")]
    for row in rows:
        print(row, flush=True)
    return run.returncode, [json.loads(row) for row in rows]


def uftrace():
    if not shutil.which("uftrace"):
        return skip("uftrace", "not installed")
    with tempfile.TemporaryDirectory(dir=memory) as where:
        status, rows = rows_of(["uftrace", "record", "-d", where + "/data", os.path.join(parts, "hook_uftrace")],
                               stderr=subprocess.DEVNULL)
    return None if rows else skip("uftrace", f"it ended with status {status}")


def lttng():
    program = os.path.join(parts, "hook_lttng")
    if not os.path.exists(program) or not shutil.which("lttng-sessiond"):
        return skip("LTTng-UST", "not installed")
    with tempfile.TemporaryDirectory(dir=memory) as where:
        env = {**os.environ, "LTTNG_HOME": where, "LTTNG_UST_REGISTER_TIMEOUT": "-1"}
        quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # One of the system's is used if there is one: then ours ends at once.
        daemon = subprocess.Popen(["lttng-sessiond"], **quiet)
        session = f"inlay-bench-{os.getpid()}"
        try:
            for _ in range(50):
                if subprocess.run(["lttng", "list"], check=False, **quiet).returncode == 0:
                    break
                time.sleep(0.1)
            for command in (["create", session, "--snapshot", "--output", where + "/data"],
                            ["enable-channel", "-s", session, "-u", "hits"],
                            ["enable-event", "-s", session, "-u", "-c", "hits", "inlay_bench:*"], ["start", session]):
                if subprocess.run(["lttng"] + command, check=False, **quiet).returncode:
                    return skip("LTTng-UST", f"lttng {command[0]} failed")
            status, rows = rows_of([program], env=env)
            return None if rows else skip("LTTng-UST", f"its program ended with status {status}")
        finally:
            subprocess.run(["lttng", "destroy", session], check=False, **quiet)
            daemon.terminate()
            daemon.wait()


# Ours over the floor that does the same with a reader and a recursion guard.
GOALS = (("inlay entry", "floor entry (jmp, reader and recursion guard)"),
         ("inlay fentry", "floor entry (jmp, reader and recursion guard)"),
         ("inlay exit", "floor exit (taken, reader and recursion guard)"),
         ("inlay fexit", "floor exit (called, reader and recursion guard)"),
         ("inlay fentry and fexit", "floor both (called, reader and recursion guard)"))


def main():
    status, rows = rows_of([os.path.join(parts, "hook_probes")])
    if "--own" not in sys.argv:
        lttng()
        uftrace()
    value = {row["variant"]: row["value"] for row in rows}
    for ours, floor in GOALS:
        if ours in value and value.get(floor, 0) > 0:
            print(json.dumps({"bench": "hook", "variant": ours, "metric": "times its guarded floor", "unit": "x",
                              "value": round(value[ours] / value[floor], 2)}))
    return status


sys.exit(main())
