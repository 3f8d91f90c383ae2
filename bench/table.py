#!/usr/bin/env python3
"""A readable table of benchmark results. usage: bench/table.py RESULTS.jsonl"""
import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8") if line.strip()]
if rows and "machine" in rows[0]:
    head = rows.pop(0)
    print(f"{head['machine']}, {head['cpus']} CPUs, Linux {head['kernel']}, commit {head['commit']}")
bench = None
for row in rows:
    if row["bench"] != bench:
        bench = row["bench"]
        print(f"\n{bench}")
    spread = f" +- {row['spread']:g}" if row.get("spread") is not None else ""
    print(f"  {row['variant']:44} {row['metric']:24} {row['value']:>12g} {row['unit']}{spread}")
