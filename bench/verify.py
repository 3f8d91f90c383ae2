#!/usr/bin/env python3
"""How long does the verifier take over the kernel's own test programs, beside the kernel's?

`replay` of ../shared/verifier-corpus loads each program without a log, best of 3, and takes the thread's CPU time of
the whole BPF_PROG_LOAD: for inlay that is verifying and sealing the image, for the kernel verifying and compiling.
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
                quarters = statistics.quantiles(times, n=4)
                print(json.dumps({"bench": "verify", "variant": f"{side}, {name.split('.jsonl')[0]}",
                                  "metric": "loads without a log", "unit": "ms",
                                  "value": round(statistics.median(times), 1), "programs": len(both),
                                  "spread": round((quarters[2] - quarters[0]) / 2, 1)}), flush=True)


main()
