#!/usr/bin/env python3
"""Runs the Meson tests of a build folder and closes with one line: N passed, N failed, N skipped.

usage: tools/run-tests.py BUILD [meson test options]

A TAP program counts as the tests it holds. Every skipped test is listed with its reason; exit 1 when one failed.
"""
import json
import os
import re
import subprocess
import sys


def tap_results(output):
    """(passed, failed, [skip reasons]) of one TAP program, or None when it is not TAP."""
    passed, failed, skips = 0, 0, []
    for line in output.splitlines():
        match = re.match(r"(not )?ok \d+(?: - (\S+))?(?:.*# SKIP ?(.*))?", line)
        if not match:
            continue
        if match.group(3) is not None:
            skips.append(f"{match.group(2)}: {match.group(3)}")
        elif match.group(1):
            failed += 1
        else:
            passed += 1
    return (passed, failed, skips) if passed + failed + len(skips) else None


def main():
    build, options = sys.argv[1], sys.argv[2:]
    jobs = os.environ.get("JOBS", "2")
    command = ["meson", "test", "-C", build, "--no-rebuild", "--num-processes", jobs, "--print-errorlogs", *options]
    status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    passed, failed, skips = 0, 0, []
    with open(os.path.join(build, "meson-logs", "testlog.json"), encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            tap = tap_results(test.get("stdout", ""))
            if tap and test["result"] in ("OK", "FAIL", "SKIP"):
                passed, failed = passed + tap[0], failed + tap[1]
                skips += [f"{test['name']}: {reason}" for reason in tap[2]]
                if test["result"] == "FAIL" and not tap[1]:
                    failed += 1
            elif test["result"] in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif test["result"] == "SKIP":
                reason = (test.get("stdout", "").strip().splitlines() or ["no reason given"])[-1]
                skips.append(f"{test['name']}: {reason}")
            else:
                failed += 1
    for skip in skips:
        print("skipped:", skip)
    if status and not failed:
        failed = 1
    print(f"{passed} passed, {failed} failed, {len(skips)} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
