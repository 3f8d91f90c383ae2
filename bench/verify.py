#!/usr/bin/env python3
"""How long does the verifier take over the kernel's own test programs, beside the kernel's?

`replay` of ../shared/verifier-corpus loads each program without a log, best of 3, and takes the thread's CPU time of
the whole BPF_PROG_LOAD: for inlay that is verifying and sealing the image, for the kernel verifying and compiling.
Then the kernel's largest tests (tools/kernel-selftests-scale.sh), with the time that each verifier says it took.
Rounds alternate between the two; the value is the median of the rounds' sums. One JSON line a corpus file and side.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ["INLAY_SOURCE"], os.environ["INLAY_BUILD"]
CORPUS = os.path.join(SOURCE, "..", "shared", "verifier-corpus")
ROUNDS = 5
FILES = ("linux-6.1.jsonl", "linux-6.1-big.jsonl.xz")


def measure(where, side, name):
    """Times of one replay, by program."""
    out = os.path.join(where, f"{side}.jsonl")
    wrapper = {"inlay": [os.path.join(BUILD, "src", "inlay"), "run", "--"], "kernel": ["unshare", "-n"]}[side]
    subprocess.run([*wrapper, os.path.join(where, "replay"), "--out", out, os.path.join(CORPUS, name)],
                   stdout=subprocess.DEVNULL, check=False)
    with open(out, encoding="utf-8") as lines:
        return {r["id"]: r for r in map(json.loads, lines) if "us" in r}


def measure_scale(objects, side):
    """us and instructions of the large programs, by object and program."""
    wrapper = {"inlay": [os.path.join(BUILD, "src", "inlay"), "run", "--"], "kernel": []}[side]
    loads = {}
    for path, program_type in objects:
        said = subprocess.run([*wrapper, os.path.join(BUILD, "bench", "verify_load"), path, program_type],
                              stdout=subprocess.PIPE, text=True, check=False).stdout
        loads |= {(path, r["id"]): r for r in map(json.loads, said.splitlines()) if r.get("accepted")}
    return loads


def report(variant, metric, times, programs):
    quarters = statistics.quantiles(times, n=4)
    print(json.dumps({"bench": "verify", "variant": variant, "metric": metric, "unit": "ms", "value": round(statistics.median(times), 1),
                      "programs": programs, "spread": round((quarters[2] - quarters[0]) / 2, 1)}), flush=True)


def scale(where):
    made = subprocess.run([os.path.join(SOURCE, "tools", "kernel-selftests-scale.sh"), where], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        return
    objects = [line.split() for line in made.stdout.splitlines()]
    sums = {"inlay": [], "kernel": []}
    for _ in range(ROUNDS):
        rounds = {side: measure_scale(objects, side) for side in sums}
        both = rounds["inlay"].keys() & rounds["kernel"].keys()
        for side, times in sums.items():
            times.append(sum(rounds[side][i]["us"] for i in both) / 1000)
    for side, times in sums.items():
        report(f"{side}, verif_scale", "verification time", times, len(both))
        print(f"# {side}: {sum(rounds[side][i]['insns'] for i in both)} instructions processed", file=sys.stderr)


def main():
    if not os.path.isdir(CORPUS) or os.geteuid():
        sys.exit("bench/verify: needs ../shared/verifier-corpus, and root for the kernel's side")
    with tempfile.TemporaryDirectory() as where:
        for name in ("replay.c", "Makefile"):
            shutil.copy(os.path.join(CORPUS, name), where)
        subprocess.run(["make", "-s", "-C", where], check=True)
        os.environ["INLAY_REGISTRY"] = os.path.join(where, "registry")
        for name in FILES:
            sums = {"inlay": [], "kernel": []}
            for _ in range(ROUNDS):
                rounds = {side: measure(where, side, name) for side in sums}
                both = rounds["inlay"].keys() & rounds["kernel"].keys()
                for side, times in sums.items():
                    times.append(sum(rounds[side][i]["us"] for i in both) / 1000)
            for side, times in sums.items():
                report(f"{side}, {name.split('.jsonl')[0]}", "loads without a log", times, len(both))
        scale(where)


main()
