#!/usr/bin/env python3
"""What counting processCommand costs a redis-server under load: the table of the demo.

usage: tools/demo-cost.py PORT PID BUILD

One load runs throughout. Requests are counted by the server itself in short windows, turn by turn without and with a
tracer, in an order that a drift of the machine favours nobody in; a round is ROUND_PAIRS such turns of each variant, and
its share is its rate over that of its own untraced windows. Shown is the median of the rounds. A single pair differs by
10 % on a shared host, whose memory is as fast as its neighbours let it be: the short turns are there to meet that.
DEMO_ROUNDS (5), DEMO_PAIRS (24), DEMO_WINDOW (0.3 seconds). Figures go to BUILD/demo.jsonl as well.
"""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

LOAD = ["redis-benchmark", "-h", "127.0.0.1", "-t", "get", "-P", "16", "-c", "50", "-r", "100000", "-n", "1000000000", "-q"]
SETTLE = 0.05  # seconds: what attaching and detaching cost is not what being attached costs
KERNEL_EVERY = 6  # the kernel's uprobe halves the rate: few turns place it well enough


class Server:
    """The server's own count of commands, over one connection that stays open, and its main thread's CPU time."""

    def __init__(self, port, pid):
        self.pid = pid
        self.connection = socket.create_connection(("127.0.0.1", port))

    def sample(self):
        self.connection.sendall(b"info stats\r\n")
        reply = b""
        while b"total_error_replies" not in reply:
            reply += self.connection.recv(65536)
        commands = int(reply.split(b"total_commands_processed:")[1].split()[0])
        with open(f"/proc/{self.pid}/schedstat") as schedstat:
            cpu = int(schedstat.read().split()[0])
        return commands, time.monotonic(), cpu

    def window(self, seconds):
        """(requests, seconds, ns of CPU time) of one window."""
        time.sleep(SETTLE)
        before = self.sample()
        time.sleep(seconds)
        return tuple(b - a for a, b in zip(before, self.sample()))


class Tracer:
    """One command that attaches, says so in a line that begins with "attached", and prints its count when it ends."""

    def __init__(self, name, command, pipe):
        self.name, self.command, self.pipe = name, command, pipe

    def window(self, server, seconds):
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = getattr(process, self.pipe).readline()
        if not said.startswith("attached"):
            raise RuntimeError(f"{self.name}: {said.strip() or process.communicate()[1].strip()}")
        result = server.window(seconds)
        process.send_signal(signal.SIGINT)
        out = process.communicate()[0].split()
        if int(out[-1]) < result[0]:
            raise RuntimeError(f"{self.name} counted {out[-1]} of {result[0]} requests")
        return result


class Variant:
    def __init__(self, tracer):
        self.tracer = tracer
        self.rounds = []  # (requests/s, share of untraced, CPU ns per request) of each round

    def run_round(self, server, pairs, seconds):
        bare, traced = [], []
        for turn in range(pairs):
            for side in (bare, traced) if turn % 2 else (traced, bare):
                side.append(self.tracer.window(server, seconds) if side is traced else server.window(seconds))
        (bare_count, bare_time, bare_cpu), (count, taken, cpu) = (map(sum, zip(*side)) for side in (bare, traced))
        rate = count / taken
        self.rounds.append((rate, rate / (bare_count / bare_time), cpu / count))
        return bare_count / bare_time, 1.0, bare_cpu / bare_count


def row(figures, name, rounds):
    rates, shares, cpus = zip(*rounds)
    share = statistics.median(shares)
    print(f"  {name:<14} {statistics.median(rates):12.0f} {share:15.3f} {statistics.median(cpus):14.0f}")
    for metric, unit, values in (("share-of-untraced", "", shares), ("throughput", "requests/s", rates), ("cpu", "ns/request", cpus)):
        figures.write(json.dumps({"bench": "demo", "variant": name, "metric": metric, "unit": unit,
                                  "value": round(statistics.median(values), 4), "spread": round(max(values) - min(values), 4)},
                                 separators=(",", ":")) + "\n")
    return shares


def measure(server, variants, rounds, pairs, seconds):
    """Fills the variants' rounds; returns the untraced ones and why the kernel's uprobe is missing, if it is."""
    untraced, why = [], "needs root"
    for number in range(rounds):
        if sys.stderr.isatty():
            print(f"\r  round {number + 1} of {rounds} ...", end="", file=sys.stderr)
        untraced.append(variants[0].run_round(server, pairs, seconds))
        for variant in variants[1:]:
            try:
                variant.run_round(server, max(1, pairs // KERNEL_EVERY), seconds)
            except RuntimeError as error:
                why = str(error)
                variants.remove(variant)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return untraced, why


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    port, pid, build = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rounds, pairs = int(os.environ.get("DEMO_ROUNDS", 5)), int(os.environ.get("DEMO_PAIRS", 24))
    seconds = float(os.environ.get("DEMO_WINDOW", 0.3))
    program = f"{build}/examples/count.bpf.o"
    variants = [Variant(Tracer("inlay", [f"{build}/src/inlay", "attach", "-p", str(pid), program], "stderr"))]
    if os.geteuid() == 0:
        kernel = [f"{build}/examples/kernel-uprobe", str(pid), program, "count", "processCommand"]
        variants.append(Variant(Tracer("kernel-uprobe", kernel, "stdout")))
    # The server has a processor of its own where there are two: load and tracers share the other.
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    server = Server(port, pid)
    load = subprocess.Popen(LOAD + ["-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server.window(1.0)  # warm
        untraced, why = measure(server, variants, rounds, pairs, seconds)
    except RuntimeError as error:
        sys.exit(f"demo: {error}")
    finally:
        load.kill()
        load.wait()
    print(f"  {'':<14} {'requests/s':>12} {'of untraced':>15} {'CPU ns/request':>14}")
    with open(f"{build}/demo.jsonl", "w") as figures:
        row(figures, "untraced", untraced)
        for variant in variants:
            shares = row(figures, variant.tracer.name, variant.rounds)
            if variant is variants[0]:
                said = ", ".join(f"{share:.3f}" for share in shares)
    if len(variants) < 2:
        print(f"  (kernel uprobe: {why})")
    print(f"  (inlay's rounds: {said}; also in {build}/demo.jsonl)")


main()
