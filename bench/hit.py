#!/usr/bin/env python3
"""What does a hit cost? The rows of bench/hook that answer it: an empty program at entry, exit and both, beside the
hand-written trampolines and, where the kernel has them, its uprobe and uretprobe. One run, as bench/hook measures it."""
import json
import os
import subprocess
import sys

ROWS = ("bare", "floor entry", "inlay entry", "floor exit", "inlay exit", "inlay entry and exit", "kernel")

hook = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook")
run = subprocess.run([hook, "--own"], stdout=subprocess.PIPE, text=True, check=False)
for line in run.stdout.splitlines():
    row = json.loads(line)
    if row["variant"].startswith(ROWS) and "programs" not in row["variant"] and "called" not in row["variant"]:
        print(json.dumps({**row, "bench": "hit"}))
sys.exit(run.returncode)
