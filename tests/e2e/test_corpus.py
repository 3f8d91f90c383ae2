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
    assert judged >= 1270, judged
    assert _count(out, "false_accept") == 0
    assert _count(out, "agree") >= 0.99 * judged
    assert _count(out, "same_msg") >= 0.95 * _count(out, "rejected by both")
    assert _count(out, "run_agree") >= 700
    assert _ids(out, "run_differ") <= ADDRESS_DEPENDENT, out


def verdicts_of_the_big_programs():
    out = _replay("--list", "false_reject", "--list", "run_differ", os.path.join(CORPUS, "linux-6.1-big.jsonl.xz"))
    assert _count(out, "agree") == 7, out
    assert _count(out, "run_differ") == 0, out


lab.run(verdicts_of_linux_6_1, verdicts_of_the_big_programs)
