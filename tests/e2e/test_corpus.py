#!/usr/bin/env python3
"""The kernel's own verifier tests under `inlay run`: replay, built from ../shared/verifier-corpus, counts agreements."""
import os
import re
import shutil
import subprocess

import lab

CORPUS = os.path.join(lab.SOURCE, "..", "shared", "verifier-corpus")

# Its result is the top bits of an address, which are ones in the kernel and zeros in a process.
ADDRESS_DEPENDENT = {"6.1-0493"}


def _replay(*arguments):
    if not os.path.isdir(CORPUS):
        raise lab.Skip("the recorded verdicts (../shared/verifier-corpus) are not here")
    lab.need("gcc", "make")
    lab.need_plain("a library with a sanitizer cannot be put in front of programs without")
    where = lab.folder()
    for name in ("replay.c", "Makefile"):
        shutil.copy(os.path.join(CORPUS, name), where)
    built = subprocess.run(["make", "-s", "-C", where], capture_output=True, text=True, check=False)
    if built.returncode:
        raise lab.Skip("replay does not build here: " + built.stderr.strip().splitlines()[-1])
    environment = dict(os.environ, INLAY_REGISTRY=os.path.join(where, "registry"))
    result = subprocess.run([lab.INLAY, "run", "--", os.path.join(where, "replay"), *arguments], capture_output=True,
                            text=True, env=environment, timeout=500, check=False)
    assert result.returncode in (0, 1), (result.returncode, result.stderr)
    print("".join(f"# {line}\n" for line in result.stdout.splitlines()), end="", flush=True)
    return result.stdout


def _count(text, word):
    return int(re.search(rf"\b{word} (\d+)", text).group(1))


def _ids(text, kind):
    return set(re.findall(rf"^{kind}\t(\S+)", text, re.MULTILINE))


def verdicts_of_linux_6_1():
    out = _replay("--list", "false_accept", "--list", "false_reject", "--list", "run_differ",
                  os.path.join(CORPUS, "linux-6.1.jsonl"))
    judged = int(re.search(r"% of (\d+) judged", out).group(1))
    assert judged >= 1320, judged
    assert _count(out, "false_accept") == 0
    assert _count(out, "agree") >= 0.99 * judged
    assert _count(out, "same_msg") >= 0.95 * _count(out, "rejected by both")
    assert _count(out, "run_agree") >= 730
    assert _ids(out, "run_differ") <= ADDRESS_DEPENDENT, out


def verdicts_of_the_big_programs():
    out = _replay("--list", "false_reject", "--list", "run_differ", os.path.join(CORPUS, "linux-6.1-big.jsonl.xz"))
    assert _count(out, "agree") == 7, out
    assert _count(out, "run_differ") == 0, out


def _test_verifier(command, tests):
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=tests, timeout=200, check=False)
    summary = re.search(r"Summary: (\d+) PASSED, (\d+) SKIPPED, (\d+) FAILED", result.stdout)
    assert summary, (result.returncode, result.stdout[-500:], result.stderr[-500:])
    print("#", command[0], summary.group(0), flush=True)
    return int(summary.group(1))


def kernels_own_test_verifier():
    """Unmodified, it passes at least as many of its tests here as on the running kernel."""
    lab.need_root()
    lab.need_plain("a library with a sanitizer cannot be put in front of programs without")
    where = lab.folder()
    built = subprocess.run([os.path.join(lab.SOURCE, "tools", "kernel-selftests-verifier.sh"), where], capture_output=True,
                           text=True, timeout=300, check=False)
    if built.returncode == 77:
        raise lab.Skip(built.stderr.strip().splitlines()[-1])
    assert built.returncode == 0, built.stderr
    program = built.stdout.strip()
    tests = os.path.join(where, "linux-source-6.1/tools/testing/selftests/bpf")
    os.environ["INLAY_REGISTRY"] = os.path.join(where, "registry")
    kernel = _test_verifier(["unshare", "-n", program], tests)
    assert kernel > 1000, kernel
    assert _test_verifier([lab.INLAY, "run", "--", program], tests) >= kernel


lab.run(verdicts_of_linux_6_1, verdicts_of_the_big_programs, kernels_own_test_verifier)
