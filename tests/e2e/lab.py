"""What the end-to-end tests share: a target under load, the inlay command, and looks into /proc.

A test script calls run(case, ...) with functions; each is one TAP test. A case fails by an exception, and skips by
raising Skip(reason). Everything started through here is killed at exit.
"""
import atexit
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = os.environ.get("INLAY_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.get("INLAY_BUILD", os.path.join(SOURCE, "build"))
INLAY = os.path.join(BUILD, "src", "inlay")
STRESS = float(os.environ.get("INLAY_STRESS_SECONDS", "0"))

# A loader built with AddressSanitizer is slower, and wants address space and no tracer.
SANITIZED = b"__asan_init" in open(INLAY, "rb").read()
SLOWNESS = 5 if SANITIZED else 1

_started = []
_folders = []


class Skip(Exception):
    """This machine cannot show it; the reason is the argument."""


def _clean_up():
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


atexit.register(_clean_up)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def start(command, **options):
    """Popen that does not outlive the test."""
    process = subprocess.Popen(command, **options)
    _started.append(process)
    return process


def folder():
    path = tempfile.mkdtemp(prefix="inlay-test-")
    _folders.append(path)
    return path


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")


def need_plain(reason):
    if SANITIZED:
        raise Skip(reason)


def need_root():
    if os.geteuid():
        raise Skip("needs root")


def wait_for(condition, what, seconds=10):
    """Polls until condition() is true; fails naming what after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def example(name):
    """Path of a compiled example program."""
    path = os.path.join(BUILD, "examples", name + ".bpf.o")
    assert os.path.exists(path), f"{path} was not built"
    return path


def victim(name):
    path = os.path.join(BUILD, "tests", "victims", name)
    assert os.path.exists(path), f"{path} was not built"
    return path


_BPF_PRELUDE = """
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
char LICENSE[] SEC("license") = "GPL";
"""


def compile_bpf(body, name="probe"):
    """Compiles BPF C (a prelude with the usual headers in front) and returns the object's path."""
    where = folder()
    source, target = os.path.join(where, name + ".bpf.c"), os.path.join(where, name + ".bpf.o")
    with open(source, "w", encoding="utf-8") as out:
        out.write(_BPF_PRELUDE + body)
    subprocess.run(["clang", "-target", "bpf", "-D__TARGET_ARCH_x86", "-I/usr/include/x86_64-linux-gnu", "-g", "-O2",
                    "-c", source, "-o", target], check=True)
    return target


def count_program(binary, function):
    """An object that counts calls of one function in the array `calls`."""
    return compile_bpf(f"""
struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); }} calls SEC(".maps");
SEC("uprobe/{binary}:{function}") int count(struct pt_regs *ctx)
{{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&calls, &zero);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}}
""")


class Redis:
    """A redis-server of our own on a free loopback port."""

    def __init__(self, command=("redis-server",), user=None):
        need("redis-server", "redis-benchmark")
        self.port = free_port()
        self.process = start([*command, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                              "--appendonly", "no", "--dir", folder() if user is None else "/"],
                             stdout=subprocess.DEVNULL, user=user)
        wait_for(self._answers, "redis-server to answer")

    @property
    def pid(self):
        return self.process.pid

    def _answers(self):
        try:
            return self.ask("PING") == "+PONG\r\n"
        except OSError:
            return False

    def ask(self, *words):
        """One command over a fresh connection; the raw reply as text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
            request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
            link.sendall(request.encode())
            return link.recv(1 << 20).decode(errors="replace")

    def info(self, field):
        return int(re.search(rf"{field}:(\d+)", self.ask("INFO", "stats")).group(1))

    def load(self, requests=1000000000, pipeline=16, clients=50):
        """redis-benchmark in the background, until killed or done."""
        return start(["redis-benchmark", "-p", str(self.port), "-t", "get", "-P", str(pipeline), "-c", str(clients),
                      "-r", "100000", "-n", str(requests), "-q"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Attachment:
    """`inlay attach` in the background; ready once the command says that it is attached."""

    def __init__(self, pid, obj, *options, wrapper=(), seconds=20, **popen):
        self.process = start([*wrapper, INLAY, "attach", "-p", str(pid), *options, obj], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, **popen)
        os.set_blocking(self.process.stderr.fileno(), False)
        self.errors = ""
        wait_for(self._attached, "inlay attach to be attached", seconds)

    def _read_errors(self):
        # Not through the text layer: its read() does not stand descriptors that have nothing yet.
        try:
            self.errors += os.read(self.process.stderr.fileno(), 65536).decode(errors="replace")
        except BlockingIOError:
            pass

    def _attached(self):
        self._read_errors()
        if self.process.poll() is not None and "attached" not in self.errors:
            raise AssertionError(f"inlay attach exited {self.process.returncode}: {self.errors}")
        return "attached" in self.errors

    def finish(self, number=signal.SIGINT):
        """Ends it; (exit status, stdout, stderr)."""
        if number and self.process.poll() is None:
            self.process.send_signal(number)
        os.set_blocking(self.process.stderr.fileno(), True)
        out, err = self.process.communicate(timeout=30 * SLOWNESS)
        return self.process.returncode, out, self.errors + (err or "")


def inlay(*arguments, timeout=60, **options):
    """Runs inlay to its end: CompletedProcess with text output."""
    return subprocess.run([INLAY, *map(str, arguments)], capture_output=True, text=True, timeout=timeout * SLOWNESS, **options)


def maps_of(pid):
    """[(start, end, permissions, offset, path)] of /proc/PID/maps."""
    rows = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.split(None, 5)
            begin, end = (int(x, 16) for x in words[0].split("-"))
            rows.append((begin, end, words[1], int(words[2], 16), words[5].strip() if len(words) > 5 else ""))
    return rows


def text_differences(pid, path=None):
    """Bytes of mapped file text that differ from the file: [(path, file offset, in memory, in file)]."""
    differences = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, permissions, offset, name in maps_of(pid):
            if "x" not in permissions or not name.startswith("/") or (path and name != path):
                continue
            if "memfd:" in name or not os.path.exists(f"/proc/{pid}/root{name}"):
                continue
            memory.seek(begin)
            live = memory.read(end - begin)
            with open(f"/proc/{pid}/root{name}", "rb") as file:
                file.seek(offset)
                disk = file.read(end - begin)
            for i, (a, b) in enumerate(zip(live, disk)):
                if a != b:
                    differences.append((name, offset + i, a, b))
    return differences


def snapshot(pid):
    """What a failed attach must leave as it was: text, mappings, threads, descriptors, tracer."""
    return {
        "text": text_differences(pid),
        "maps": [(a, b, p, n) for a, b, p, _, n in maps_of(pid) if n not in ("[heap]", "[stack]")],
        "threads": sorted(os.listdir(f"/proc/{pid}/task")),
        "fds": sorted(os.listdir(f"/proc/{pid}/fd")),
        "signals": [l for l in open(f"/proc/{pid}/status", encoding="utf-8")
                    if l.startswith(("SigBlk", "SigIgn", "SigCgt", "TracerPid", "Seccomp"))],
    }


def run(*cases):
    """Runs the cases as TAP and exits."""
    failed = 0
    for number, case in enumerate(cases, 1):
        name = case.__name__
        try:
            case()
            print(f"ok {number} - {name}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("#", line)
            print(f"not ok {number} - {name}", flush=True)
    print(f"1..{len(cases)}")
    sys.exit(1 if failed else 0)


__all__ = [name for name in dir() if not name.startswith("_")]
