#!/usr/bin/env python3
"""What does making a program runnable cost per instruction, here and in the kernel?

Straight-line programs (straight.bpf.c), loaded in one object through libbpf and run once, with and without inlay: the thread's CPU
time of the whole load, and of what the first run took longer than the second (inlay compiles there); less what the
verifier says it took it is compiling, sealing and naming them. By instruction. Code sizes are in bench/jit.
Rounds alternate; median and half the distance of the quartiles. Needs root for the kernel's side.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

BUILD = os.environ["INLAY_BUILD"]
ROUNDS = 21


def measure(side):
    """ns an instruction: (the whole load, without verification)."""
    wrapper = {"inlay": [os.path.join(BUILD, "src", "inlay"), "run", "--"], "kernel": []}[side]
    said = subprocess.run([*wrapper, os.path.join(BUILD, "bench", "verify_load"), os.path.join(BUILD, "bench", "straight.bpf.o"), "0"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    *programs, total = map(json.loads, said.splitlines())
    if not all(program["accepted"] for program in programs):
        sys.exit(f"bench/compile: the {side} does not load the programs")
    length = sum(program["length"] for program in programs)
    verified = sum(program["us"] for program in programs)
    taken = total["load_us"] + total["late_us"]
    return 1000 * taken / length, 1000 * (taken - verified) / length


def main():
    if os.geteuid():
        sys.exit("bench/compile: needs root for the kernel's side")
    with tempfile.TemporaryDirectory() as where:
        os.environ["INLAY_REGISTRY"] = os.path.join(where, "registry")
        results = {"inlay": [], "kernel": []}
        for _ in range(ROUNDS):
            for side, values in results.items():
                values.append(measure(side))
    for side, values in results.items():
        for metric, column in zip(("load", "load without verification"), zip(*values)):
            quarters = statistics.quantiles(column, n=4)
            print(json.dumps({"bench": "compile", "variant": side, "metric": metric, "unit": "ns/instruction",
                              "value": round(statistics.median(column), 1), "spread": round((quarters[2] - quarters[0]) / 2, 1)}))


main()
